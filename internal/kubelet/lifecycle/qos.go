package lifecycle

import v1 "k8s.io/api/core/v1"

// QOS returns the pod's quality of service class: Guaranteed when every
// container limits cpu and memory to what it requests, BestEffort when none
// asks for anything, else Burstable.
func QOS(pod *v1.Pod) v1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	any, guaranteed := false, true
	weigh := func(r v1.ResourceRequirements) {
		for _, name := range [...]v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			limit, request := r.Limits[name], r.Requests[name]
			if !limit.IsZero() || !request.IsZero() {
				any = true
			}
			if limit.IsZero() || !request.IsZero() && limit.Cmp(request) != 0 {
				guaranteed = false
			}
		}
	}
	if r := pod.Spec.Resources; r != nil && (len(r.Limits) > 0 || len(r.Requests) > 0) {
		weigh(*r)
	} else {
		for i := range pod.Spec.InitContainers {
			weigh(pod.Spec.InitContainers[i].Resources)
		}
		for i := range pod.Spec.Containers {
			weigh(pod.Spec.Containers[i].Resources)
		}
	}
	switch {
	case !any:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}
