package scheme

import (
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
)

func defaultPriorityClass(c *schedulingv1.PriorityClass) {
	point(&c.PreemptionPolicy, corev1.PreemptLowerPriority)
}
