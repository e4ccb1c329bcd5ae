package strategy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// A namespace is held by spec.finalizers: its controller empties it and then
// takes "kubernetes" out through the finalize subresource.
func namespace() *Strategy {
	return &Strategy{
		Create: func(o runtime.Object) {
			ns := o.(*corev1.Namespace)
			ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
			if !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
				ns.Spec.Finalizers = append(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
			}
		},
		Update: func(o, was runtime.Object) {
			ns, old := o.(*corev1.Namespace), was.(*corev1.Namespace)
			ns.Spec.Finalizers, ns.Status = old.Spec.Finalizers, old.Status
		},
		Sub: map[string]func(obj, old runtime.Object){
			"status": func(o, was runtime.Object) {
				ns, old := o.(*corev1.Namespace), was.(*corev1.Namespace)
				ns.Spec.Finalizers = old.Spec.Finalizers
			},
			"finalize": func(o, was runtime.Object) {
				ns, old := o.(*corev1.Namespace), was.(*corev1.Namespace)
				ns.Status = old.Status
			},
		},
		Held: func(o runtime.Object) bool { return len(o.(*corev1.Namespace).Spec.Finalizers) > 0 },
		Deleting: func(o runtime.Object) {
			ns := o.(*corev1.Namespace)
			ns.Status.Phase = corev1.NamespaceTerminating
			ns.DeletionGracePeriodSeconds = nil // it ends when it is empty
		},
	}
}
