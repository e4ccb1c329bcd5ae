package strategy

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func node() *Strategy {
	// Components keep a node's annotations through its status as well.
	s := halves(
		func(n *corev1.Node) *corev1.NodeSpec { return &n.Spec },
		func(n *corev1.Node) *corev1.NodeStatus { return &n.Status },
		false, nil)
	// A kubelet registers its node with status and all. Nothing configures
	// kubelets any more.
	s.Create = func(o runtime.Object) { dropConfig(o.(*corev1.Node)) }
	update, status := s.Update, s.Sub["status"]
	s.Update = func(o, old runtime.Object) {
		update(o, old)
		dropConfig(o.(*corev1.Node))
	}
	s.Sub["status"] = func(o, old runtime.Object) {
		status(o, old)
		dropConfig(o.(*corev1.Node))
	}
	return s
}

func dropConfig(n *corev1.Node) { n.Spec.ConfigSource, n.Status.Config = nil, nil }
