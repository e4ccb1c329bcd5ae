package system

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// awaitNode returns once this node is Ready.
func awaitNode(ctx context.Context, c kubernetes.Interface, name string) error {
	o := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
	return await(ctx, func() ([]runtime.Object, watch.Interface, error) {
		l, err := c.CoreV1().Nodes().List(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		var all []runtime.Object
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
		from := o
		from.ResourceVersion = l.ResourceVersion
		w, err := c.CoreV1().Nodes().Watch(ctx, from)
		return all, w, err
	}, func(obj runtime.Object) bool {
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
	o := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", "default").String()}
	return await(ctx, func() ([]runtime.Object, watch.Interface, error) {
		l, err := accounts.List(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		var all []runtime.Object
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
		from := o
		from.ResourceVersion = l.ResourceVersion
		w, err := accounts.Watch(ctx, from)
		return all, w, err
	}, func(obj runtime.Object) bool { _, ok := obj.(*corev1.ServiceAccount); return ok })
}

// await returns once an object of a list, or of the watch that follows it, is
// as wanted.
func await(ctx context.Context, begin func() ([]runtime.Object, watch.Interface, error), wanted func(runtime.Object) bool) error {
	for {
		all, w, err := begin()
		if err != nil {
			return err
		}
		defer w.Stop()
		for _, obj := range all {
			if wanted(obj) {
				return nil
			}
		}
		for open := true; open; {
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting: %w", ctx.Err())
			case e, ok := <-w.ResultChan():
				if ok && (e.Type == watch.Added || e.Type == watch.Modified) && wanted(e.Object) {
					return nil
				}
				// A watch that ended is begun again, from a new list.
				open = ok
			}
		}
	}
}
