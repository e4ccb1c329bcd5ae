package system

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// awaitNode returns once this node is Ready.
func awaitNode(ctx context.Context, c kubernetes.Interface, name string) error {
	nodes := c.CoreV1().Nodes()
	return await(ctx, name, func(o metav1.ListOptions) (runtime.Object, error) { return nodes.List(ctx, o) }, nodes.Watch, func(obj runtime.Object) bool {
		n, ok := obj.(*corev1.Node)
		if !ok {
			return false
		}
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
				return true
			}
		}
		return false
	})
}

// awaitAccount returns once the namespace default has its ServiceAccount, and
// so can take pods.
func awaitAccount(ctx context.Context, c kubernetes.Interface) error {
	accounts := c.CoreV1().ServiceAccounts("default")
	return await(ctx, "default", func(o metav1.ListOptions) (runtime.Object, error) { return accounts.List(ctx, o) }, accounts.Watch, func(obj runtime.Object) bool {
		_, ok := obj.(*corev1.ServiceAccount)
		return ok
	})
}

type watchFunc func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)

// await returns once the object of a name is as wanted.
func await(ctx context.Context, name string, list func(metav1.ListOptions) (runtime.Object, error), begin watchFunc, wanted func(runtime.Object) bool) error {
	o := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
	for {
		all, err := list(o)
		if err != nil {
			return err
		}
		done := false
		if err := meta.EachListItem(all, func(obj runtime.Object) error {
			done = done || wanted(obj)
			return nil
		}); err != nil || done {
			return err
		}
		at, err := meta.ListAccessor(all)
		if err != nil {
			return err
		}
		from := o
		from.ResourceVersion = at.GetResourceVersion()
		w, err := begin(ctx, from)
		if err != nil {
			return err
		}
		if done, err := follow(ctx, w, wanted); err != nil || done {
			return err
		}
		// A watch that ended is begun again, from a new list.
	}
}

// follow returns true once the watch shows what is wanted, and false when it ends.
func follow(ctx context.Context, w watch.Interface, wanted func(runtime.Object) bool) (bool, error) {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("waiting: %w", ctx.Err())
		case e, open := <-w.ResultChan():
			if !open {
				return false, nil
			}
			if (e.Type == watch.Added || e.Type == watch.Modified) && wanted(e.Object) {
				return true, nil
			}
		}
	}
}
