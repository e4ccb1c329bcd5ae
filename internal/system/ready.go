package system

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
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

// stateRole labels the server's own node as a control plane's, as kubeadm and
// k3s do, so that `kubectl get nodes` shows its role. A node may not say that of
// itself. It repels no pods: a cluster of one node has no other place for them.
func stateRole(ctx context.Context, admin kubernetes.Interface, name string) error {
	const patch = `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`
	_, err := admin.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("the role of node %s: %w", name, err)
	}
	return nil
}
