package system

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"clipper/internal/client"
)

// awaitNode returns once this node is as wanted.
func awaitNode(ctx context.Context, c kubernetes.Interface, name string, wanted func(*corev1.Node) bool) error {
	nodes := c.CoreV1().Nodes()
	return client.Await(ctx, name, func(o metav1.ListOptions) (runtime.Object, error) { return nodes.List(ctx, o) }, nodes.Watch, func(obj runtime.Object) (bool, error) {
		n, ok := obj.(*corev1.Node)
		return ok && wanted(n), nil
	})
}

func nodeReady(n *corev1.Node) bool {
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// awaitAccount returns once the namespace default has its ServiceAccount, and
// so can take pods.
func awaitAccount(ctx context.Context, c kubernetes.Interface) error {
	accounts := c.CoreV1().ServiceAccounts("default")
	return client.Await(ctx, "default", func(o metav1.ListOptions) (runtime.Object, error) { return accounts.List(ctx, o) }, accounts.Watch, func(obj runtime.Object) (bool, error) {
		_, ok := obj.(*corev1.ServiceAccount)
		return ok, nil
	})
}
