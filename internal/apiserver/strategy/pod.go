package strategy

import (
	"cmp"

	"clipper/internal/validate"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func pod() *Strategy {
	s := halves(
		func(p *corev1.Pod) *corev1.PodSpec { return &p.Spec },
		func(p *corev1.Pod) *corev1.PodStatus { return &p.Status },
		true, nil)
	s.Create = func(o runtime.Object) {
		p := o.(*corev1.Pod)
		p.Generation = 1
		if g := p.Spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
			least := int64(1)
			p.Spec.TerminationGracePeriodSeconds = &least
		}
		selectAlike(p)
		p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: cmp.Or(p.Status.QOSClass, validate.PodQOS(p))}
		if len(p.Spec.SchedulingGates) > 0 {
			p.Status.Conditions = []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
				Reason:             corev1.PodReasonSchedulingGated,
				Message:            "Scheduling is blocked due to non-empty scheduling gates",
				LastTransitionTime: p.CreationTimestamp,
			}}
		}
	}
	s.Sub["status"] = podStatus
	s.Sub["ephemeralcontainers"] = func(o, was runtime.Object) {
		p, old := o.(*corev1.Pod), was.(*corev1.Pod)
		added := p.Spec.EphemeralContainers
		kept := p.ResourceVersion
		*p = *old
		p.ResourceVersion = kept
		p.Spec.EphemeralContainers = added
		if !same(&p.Spec, &old.Spec) {
			p.Generation = old.Generation + 1
		}
	}
	s.Sub["resize"] = podResize
	s.Grace = podGrace
	return s
}

func podStatus(o, was runtime.Object) {
	p, old := o.(*corev1.Pod), was.(*corev1.Pod)
	p.Spec = old.Spec
	p.Status.NodeAllocatableResourceClaimStatuses = nil // DRANodeAllocatableResources is alpha
	p.OwnerReferences = old.OwnerReferences
	if p.Status.QOSClass == "" {
		p.Status.QOSClass = old.Status.QOSClass
	}
	// The first of podIPs is podIP, and likewise the host's; a client that
	// knows one of the two forms only must not lose the other.
	if n := &p.Status; n.PodIP != "" && (len(n.PodIPs) == 0 || n.PodIPs[0].IP != n.PodIP) {
		if n.PodIP == old.Status.PodIP && len(n.PodIPs) > 0 {
			n.PodIP = n.PodIPs[0].IP
		} else {
			n.PodIPs = []corev1.PodIP{{IP: n.PodIP}}
		}
	} else if n.PodIP == "" && len(n.PodIPs) > 0 {
		n.PodIP = n.PodIPs[0].IP
	}
}

// podResize lets only containers' resources and resize policies change.
func podResize(o, was runtime.Object) {
	p, old := o.(*corev1.Pod), was.(*corev1.Pod)
	wanted := p.Spec
	p.Spec = *old.Spec.DeepCopy()
	p.Status, p.Labels, p.Annotations = old.Status, old.Labels, old.Annotations
	p.Finalizers, p.OwnerReferences = old.Finalizers, old.OwnerReferences
	take := func(into, from []corev1.Container) {
		for i := range into {
			for j := range from {
				if into[i].Name == from[j].Name {
					into[i].Resources, into[i].ResizePolicy = from[j].Resources, from[j].ResizePolicy
				}
			}
		}
	}
	take(p.Spec.Containers, wanted.Containers)
	take(p.Spec.InitContainers, wanted.InitContainers)
	if wanted.Resources != nil {
		p.Spec.Resources = wanted.Resources
	}
	if !same(&p.Spec, &old.Spec) {
		p.Generation = old.Generation + 1
	}
}

// podGrace: a kubelet needs time only for a pod that it may be running.
func podGrace(o runtime.Object, asked *int64) int64 {
	p := o.(*corev1.Pod)
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	switch {
	case p.Spec.NodeName == "", p.Status.Phase == corev1.PodFailed, p.Status.Phase == corev1.PodSucceeded:
		return 0
	case asked != nil:
		grace = *asked
	case p.Spec.TerminationGracePeriodSeconds != nil:
		grace = *p.Spec.TerminationGracePeriodSeconds
	}
	if grace < 0 {
		return 1
	}
	return grace
}
