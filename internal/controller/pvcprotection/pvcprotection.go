// Package pvcprotection keeps a persistent volume claim that is being deleted
// until no pod uses it, by the finalizer kubernetes.io/pvc-protection.
//
// A pod uses its claims from when it is bound to a node until it is gone: one
// that has ended does too, as its volumes may still be mounted, and one without
// a node does not, as none will take it while the claim is being deleted.
package pvcprotection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/component-helpers/storage/ephemeral"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

const finalizer = controller.Protection("kubernetes.io/pvc-protection")

// Controller is the claims' protection. It looks at a namespace at a time, so
// that many claims that go at once cost one look at the pods.
type Controller struct {
	*controller.Loop[string]
	Config
	claims corelisters.PersistentVolumeClaimLister
	pods   corelisters.PodLister
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	claims, pods := c.Informers.Core().V1().PersistentVolumeClaims(), c.Informers.Core().V1().Pods()
	p := &Controller{Config: c, claims: claims.Lister(), pods: pods.Lister()}
	p.Loop = controller.NewLoop("persistentvolumeclaim-protection-controller", c, 2, p.sync)
	p.Watch(claims.Informer(), controller.On(func(_, now *corev1.PersistentVolumeClaim) {
		if now != nil && (finalizer.Missing(now) || finalizer.Holds(now)) {
			p.Add(now.Namespace)
		}
	}))
	p.Watch(pods.Informer(), controller.On(func(before, now *corev1.Pod) {
		gone := before != nil && (now == nil || now.UID != before.UID)
		if gone && usesAny(before) {
			p.Add(before.Namespace)
		}
	}))
	return p
}

func (p *Controller) sync(ctx context.Context, namespace string) error {
	all, err := p.claims.PersistentVolumeClaims(namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	var change []*corev1.PersistentVolumeClaim
	held := map[string]*corev1.PersistentVolumeClaim{}
	for _, c := range all {
		switch {
		case finalizer.Missing(c):
			c = c.DeepCopy()
			finalizer.Add(c)
			change = append(change, c)
		case finalizer.Holds(c):
			held[c.Name] = c
		}
	}
	if err := p.dropUsed(ctx, namespace, held); err != nil {
		return err
	}
	for _, c := range held {
		c = c.DeepCopy()
		finalizer.Remove(c)
		change = append(change, c)
	}
	_, err = controller.AllAtOnce(len(change), func(i int) error {
		_, err := p.Client.CoreV1().PersistentVolumeClaims(namespace).Update(ctx, change[i], metav1.UpdateOptions{})
		return controller.IgnoreNotFound(err)
	})
	return err
}

// dropUsed takes the claims that pods use out of held.
func (p *Controller) dropUsed(ctx context.Context, namespace string, held map[string]*corev1.PersistentVolumeClaim) error {
	if len(held) == 0 {
		return nil
	}
	cached, err := p.pods.Pods(namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	for _, pod := range cached {
		drop(held, pod)
	}
	if len(held) == 0 {
		return nil
	}
	// The cache of pods may be behind that of claims; the API is asked last.
	live, err := p.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range live.Items {
		drop(held, &live.Items[i])
	}
	return nil
}

// drop takes the claims that the pod uses out of held.
func drop(held map[string]*corev1.PersistentVolumeClaim, pod *corev1.Pod) {
	if pod.Spec.NodeName == "" {
		return
	}
	for i := range pod.Spec.Volumes {
		switch v := &pod.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			delete(held, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			name := ephemeral.VolumeClaimName(pod, v)
			// Another's claim that only has the name is not used.
			if c := held[name]; c != nil && ephemeral.VolumeIsForPod(pod, c) == nil {
				delete(held, name)
			}
		}
	}
}

// usesAny tells whether the pod has volumes of claims.
func usesAny(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.PersistentVolumeClaim != nil || v.Ephemeral != nil {
			return true
		}
	}
	return false
}
