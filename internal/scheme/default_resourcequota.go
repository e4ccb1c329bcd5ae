package scheme

import corev1 "k8s.io/api/core/v1"

func defaultResourceQuota(q *corev1.ResourceQuota) {
	roundUp(q.Spec.Hard, q.Status.Hard, q.Status.Used)
}
