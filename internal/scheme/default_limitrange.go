package scheme

import corev1 "k8s.io/api/core/v1"

func defaultLimitRange(l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		roundUp(item.Max, item.Min, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio)
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		// A limit defaults to the most allowed, a request to the limit or else
		// to the least allowed.
		complete(&item.Default, item.Max)
		complete(&item.DefaultRequest, item.Default)
		complete(&item.DefaultRequest, item.Min)
	}
}

// complete adds to the list what it lacks; the list is not nil afterwards.
func complete(list *corev1.ResourceList, from corev1.ResourceList) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	for name, q := range from {
		if _, set := (*list)[name]; !set {
			(*list)[name] = q.DeepCopy()
		}
	}
}
