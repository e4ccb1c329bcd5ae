package admission

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// RuntimeClass gives a pod what its runtime class costs and the nodes that
// have it (KEP-688).
type RuntimeClass struct{ objects Objects }

// Name implements Plugin.
func (*RuntimeClass) Name() string { return "RuntimeClass" }

// Admit implements Mutator.
func (p *RuntimeClass) Admit(_ context.Context, a *Attributes) error {
	pod := podOf(a, Create)
	if pod == nil || pod.Spec.RuntimeClassName == nil {
		return nil
	}
	class := p.class(pod)
	if class == nil {
		if err := badName(*pod.Spec.RuntimeClassName); err != nil {
			return err
		}
		return forbidden(a, "pod rejected: RuntimeClass %q not found", *pod.Spec.RuntimeClassName)
	}
	if class.Overhead != nil && pod.Spec.Overhead == nil {
		pod.Spec.Overhead = class.Overhead.DeepCopy().PodFixed
	}
	s := class.Scheduling
	if s == nil {
		return nil
	}
	for key, value := range s.NodeSelector {
		if own, ok := pod.Spec.NodeSelector[key]; ok && own != value {
			return forbidden(a, "conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", key, value, key, own)
		}
		if pod.Spec.NodeSelector == nil {
			pod.Spec.NodeSelector = map[string]string{}
		}
		pod.Spec.NodeSelector[key] = value
	}
	for i := range s.Tolerations {
		t := &s.Tolerations[i]
		if !slices.ContainsFunc(pod.Spec.Tolerations, func(own corev1.Toleration) bool { return apiequality.Semantic.DeepEqual(own, *t) }) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, *t.DeepCopy())
		}
	}
	return nil
}

// Validate implements Validator.
func (p *RuntimeClass) Validate(_ context.Context, a *Attributes) error {
	pod := podOf(a, Create)
	if pod == nil {
		return nil
	}
	var class *nodev1.RuntimeClass
	if pod.Spec.RuntimeClassName != nil {
		class = p.class(pod)
	}
	switch {
	case class != nil && class.Overhead != nil:
		if !apiequality.Semantic.DeepEqual(class.Overhead.PodFixed, pod.Spec.Overhead) {
			return forbidden(a, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
		}
	case len(pod.Spec.Overhead) > 0:
		return forbidden(a, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
	}
	return nil
}

// class returns the pod's runtime class, or nil if there is none of that name.
func (p *RuntimeClass) class(pod *corev1.Pod) *nodev1.RuntimeClass {
	class, _ := p.objects.Object(runtimeClasses, "", *pod.Spec.RuntimeClassName).(*nodev1.RuntimeClass)
	return class
}
