package quota

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

const (
	requestsPrefix = "requests."
	limitsPrefix   = "limits."
)

// Counts tells whether a pod holds resources: until it has ended, or should
// have been gone already.
func Counts(pod *corev1.Pod, now time.Time) bool {
	switch pod.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed:
		return false
	}
	if pod.DeletionTimestamp != nil && pod.DeletionGracePeriodSeconds != nil {
		// The time of deletion has the grace in it already; upstream grants it
		// once more to a kubelet that is late.
		late := time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
		return !now.After(pod.DeletionTimestamp.Add(late))
	}
	return true
}

func podUsage(pod *corev1.Pod) corev1.ResourceList {
	u := corev1.ResourceList{corev1.ResourcePods: one()}
	for name, q := range resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{}) {
		u[requestsPrefix+name] = q
		if plain(name) {
			u[name] = q
		}
	}
	for name, q := range resourcehelper.PodLimits(pod, resourcehelper.PodResourcesOptions{}) {
		if compute(name) {
			u[limitsPrefix+name] = q
		}
	}
	return u
}

// compute are the resources that have both requests and limits in quotas.
func compute(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return true
	}
	return false
}

// plain are those whose requests are also counted under their own name.
func plain(name corev1.ResourceName) bool {
	return compute(name) || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// podResource tells whether pods may count for a name in a quota.
func podResource(name corev1.ResourceName) bool {
	s := string(name)
	return name == corev1.ResourcePods || plain(name) ||
		strings.HasPrefix(s, limitsPrefix) ||
		strings.HasPrefix(s, requestsPrefix) && name != corev1.ResourceRequestsStorage
}

// mustSay: cpu and memory must be given by each container, unless the pod
// gives them for all.
func mustSay(pod *corev1.Pod, name corev1.ResourceName) bool {
	resource := corev1.ResourceName(strings.TrimPrefix(strings.TrimPrefix(string(name), requestsPrefix), limitsPrefix))
	if resource != corev1.ResourceCPU && resource != corev1.ResourceMemory {
		return false
	}
	if pod.Spec.Resources == nil {
		return true
	}
	side := pod.Spec.Resources.Requests
	if strings.HasPrefix(string(name), limitsPrefix) {
		side = pod.Spec.Resources.Limits
	}
	_, given := side[resource]
	return !given
}

func says(c *corev1.Container, name corev1.ResourceName) bool {
	side := c.Resources.Requests
	rest, limits := strings.CutPrefix(string(name), limitsPrefix)
	if limits {
		side = c.Resources.Limits
	} else {
		rest = strings.TrimPrefix(rest, requestsPrefix)
	}
	_, ok := side[corev1.ResourceName(rest)]
	return ok
}

func inScope(pod *corev1.Pod, r corev1.ScopedResourceSelectorRequirement) bool {
	terminating := pod.Spec.ActiveDeadlineSeconds != nil && *pod.Spec.ActiveDeadlineSeconds >= 0
	switch r.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return terminating
	case corev1.ResourceQuotaScopeNotTerminating:
		return !terminating
	case corev1.ResourceQuotaScopeBestEffort:
		return bestEffort(pod)
	case corev1.ResourceQuotaScopeNotBestEffort:
		return !bestEffort(pod)
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return crossNamespace(pod.Spec.Affinity)
	case corev1.ResourceQuotaScopePriorityClass:
		class := pod.Spec.PriorityClassName
		switch r.Operator {
		case corev1.ScopeSelectorOpExists:
			return class != ""
		case corev1.ScopeSelectorOpDoesNotExist:
			return class == ""
		case corev1.ScopeSelectorOpIn:
			return class != "" && slices.Contains(r.Values, class)
		case corev1.ScopeSelectorOpNotIn:
			return !slices.Contains(r.Values, class)
		}
	}
	return false
}

func bestEffort(pod *corev1.Pod) bool {
	none := func(l corev1.ResourceList) bool {
		cpu, memory := l[corev1.ResourceCPU], l[corev1.ResourceMemory]
		return cpu.IsZero() && memory.IsZero()
	}
	if r := pod.Spec.Resources; r != nil && !(none(r.Requests) && none(r.Limits)) {
		return false
	}
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			if r := &containers[i].Resources; !none(r.Requests) || !none(r.Limits) {
				return false
			}
		}
	}
	return true
}

// crossNamespace tells whether an affinity looks at pods of other namespaces.
func crossNamespace(a *corev1.Affinity) bool {
	var required []corev1.PodAffinityTerm
	var preferred []corev1.WeightedPodAffinityTerm
	if a == nil {
		return false
	}
	if a.PodAffinity != nil {
		required = append(required, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution...)
		preferred = append(preferred, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution...)
	}
	if a.PodAntiAffinity != nil {
		required = append(required, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution...)
		preferred = append(preferred, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution...)
	}
	for _, w := range preferred {
		required = append(required, w.PodAffinityTerm)
	}
	return slices.ContainsFunc(required, func(t corev1.PodAffinityTerm) bool {
		return len(t.Namespaces) > 0 || t.NamespaceSelector != nil
	})
}
