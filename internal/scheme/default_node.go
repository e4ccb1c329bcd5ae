package scheme

import corev1 "k8s.io/api/core/v1"

func defaultNode(n *corev1.Node) {
	roundUp(n.Status.Capacity, n.Status.Allocatable)
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	}
}
