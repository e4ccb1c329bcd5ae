package strategy

import corev1 "k8s.io/api/core/v1"

func node() *Strategy {
	// Components keep a node's annotations through its status as well.
	s := halves(
		func(n *corev1.Node) *corev1.NodeSpec { return &n.Spec },
		func(n *corev1.Node) *corev1.NodeStatus { return &n.Status },
		false, nil)
	s.Create = nil // a kubelet registers its node with status and all
	return s
}
