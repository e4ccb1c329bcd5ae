package validate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// PodQOS returns the class that the pod's requests and limits of CPU and
// memory put it in: Guaranteed, Burstable or BestEffort.
func PodQOS(p *corev1.Pod) corev1.PodQOSClass {
	var (
		zero  resource.Quantity
		best  = true // nothing is asked for
		equal = true // every limit is set, and every request equals it
	)
	see := func(r *corev1.ResourceRequirements) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := r.Requests[name], r.Limits[name]
			if request.Cmp(zero) > 0 || limit.Cmp(zero) > 0 {
				best = false
			}
			if limit.Cmp(zero) <= 0 || (request.Cmp(zero) > 0 && request.Cmp(limit) != 0) {
				equal = false
			}
		}
	}
	if p.Spec.Resources != nil {
		see(p.Spec.Resources)
	} else {
		for i := range p.Spec.InitContainers {
			see(&p.Spec.InitContainers[i].Resources)
		}
		for i := range p.Spec.Containers {
			see(&p.Spec.Containers[i].Resources)
		}
	}
	switch {
	case best:
		return corev1.PodQOSBestEffort
	case equal:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
