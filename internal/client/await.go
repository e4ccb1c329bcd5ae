package client

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// WatchFunc begins a watch; typed clients' Watch methods are such.
type WatchFunc func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)

// Await returns once wanted is true of the object of a name, and with an error
// if wanted returns one. A watch that ends is begun anew, from a new list.
func Await(ctx context.Context, name string, list func(metav1.ListOptions) (runtime.Object, error), begin WatchFunc, wanted func(runtime.Object) (bool, error)) error {
	o := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
	for {
		all, err := list(o)
		if err != nil {
			return err
		}
		done := false
		if err := meta.EachListItem(all, func(obj runtime.Object) error {
			is, err := wanted(obj)
			done = done || is
			return err
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
		if apierrors.IsResourceExpired(err) {
			continue
		}
		if err != nil {
			return err
		}
		if done, err := follow(ctx, w, wanted); err != nil || done {
			return err
		}
	}
}

// follow returns true once the watch shows what is wanted, and false when it ends.
func follow(ctx context.Context, w watch.Interface, wanted func(runtime.Object) (bool, error)) (bool, error) {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("waiting: %w", ctx.Err())
		case e, open := <-w.ResultChan():
			if !open {
				return false, nil
			}
			if e.Type != watch.Added && e.Type != watch.Modified {
				continue
			}
			if done, err := wanted(e.Object); done || err != nil {
				return done, err
			}
		}
	}
}
