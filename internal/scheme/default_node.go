package scheme

import corev1 "k8s.io/api/core/v1"

func defaultNode(n *corev1.Node) {
	// The older of the two fields decides.
	switch cidrs := n.Spec.PodCIDRs; {
	case n.Spec.PodCIDR == "" && len(cidrs) > 0:
		n.Spec.PodCIDR = cidrs[0]
	case n.Spec.PodCIDR != "" && (len(cidrs) == 0 || cidrs[0] != n.Spec.PodCIDR):
		n.Spec.PodCIDRs = []string{n.Spec.PodCIDR}
	}
	roundUp(n.Status.Capacity, n.Status.Allocatable)
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	}
}
