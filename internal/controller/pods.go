package controller

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodActive tells whether the pod counts towards what was asked for: it has
// not ended and is not being deleted.
func PodActive(p *corev1.Pod) bool { return p.DeletionTimestamp == nil && !PodEnded(p) }

// PodEnded tells whether all containers have ended for good.
func PodEnded(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// PodTerminating tells whether the pod is being deleted but may still run.
func PodTerminating(p *corev1.Pod) bool { return p.DeletionTimestamp != nil && !PodEnded(p) }

// PodCondition returns the pod's condition, or nil.
func PodCondition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == kind {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// PodReady tells whether the pod is ready, and since when.
func PodReady(p *corev1.Pod) (since metav1.Time, ready bool) {
	c := PodCondition(p, corev1.PodReady)
	if c == nil || c.Status != corev1.ConditionTrue {
		return metav1.Time{}, false
	}
	return c.LastTransitionTime, true
}

// PodAvailable tells whether the pod has been ready for minReadySeconds. If it
// is ready but not yet so long, wait is what is missing.
func PodAvailable(p *corev1.Pod, minReadySeconds int32, now time.Time) (available bool, wait time.Duration) {
	since, ready := PodReady(p)
	if !ready {
		return false, 0
	}
	if minReadySeconds == 0 {
		return true, 0
	}
	if since.IsZero() {
		return false, 0
	}
	wait = since.Add(time.Duration(minReadySeconds) * time.Second).Sub(now)
	return wait <= 0, max(wait, 0)
}

// Sooner returns the shorter of two waits, where 0 is none.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
