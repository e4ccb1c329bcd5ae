package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// byOwner is the index of objects by the uid of the controller that owns them,
// or, for those without, by their namespace.
const byOwner = "owner"

// IndexByOwner adds the index that Owned and Orphans read; once a factory is
// enough, more do no harm.
func IndexByOwner(informer cache.SharedIndexInformer) cache.Indexer {
	if _, there := informer.GetIndexer().GetIndexers()[byOwner]; !there {
		err := informer.AddIndexers(cache.Indexers{byOwner: func(obj any) ([]string, error) {
			o, ok := obj.(metav1.Object)
			if !ok {
				return nil, fmt.Errorf("%T has no metadata", obj)
			}
			if ref := metav1.GetControllerOfNoCopy(o); ref != nil {
				return []string{string(ref.UID)}, nil
			}
			return []string{orphansOf(o.GetNamespace())}, nil
		}})
		if err != nil {
			panic(fmt.Sprintf("index by owner: %v", err)) // the informer has been stopped
		}
	}
	return informer.GetIndexer()
}

func orphansOf(namespace string) string { return "orphans/" + namespace }

// Owned returns the objects whose controller is uid.
func Owned[T any](index cache.Indexer, uid types.UID) []*T { return indexed[T](index, string(uid)) }

// Orphans returns the namespace's objects that have no controller.
func Orphans[T any](index cache.Indexer, namespace string) []*T {
	return indexed[T](index, orphansOf(namespace))
}

func indexed[T any](index cache.Indexer, value string) []*T {
	objs, err := index.ByIndex(byOwner, value)
	if err != nil {
		panic(fmt.Sprintf("index by owner: %v", err)) // IndexByOwner was not called
	}
	out := make([]*T, 0, len(objs))
	for _, o := range objs {
		if v, ok := o.(*T); ok {
			out = append(out, v)
		}
	}
	return out
}

// Claim decides which objects an owner has.
type Claim[T any] struct {
	Owner    metav1.Object
	Kind     schema.GroupVersionKind
	Selector labels.Selector
	// Live reads the owner from the API, not from a cache: before it adopts, an
	// owner makes sure that it is not being deleted.
	Live func(context.Context) (metav1.Object, error)
	// Patch applies a strategic merge patch to an object of kind T.
	Patch func(ctx context.Context, name string, patch []byte) error
	// Adoptable tells of further reasons not to adopt; nil is none.
	Adoptable func(*T) bool
}

// Of returns the objects of owned and orphans that are the owner's from here
// on: those it owns and that match, and orphans that match, which it adopts.
// Those it owns that no longer match are released. On an error, the rest of
// the claim still holds.
func (c *Claim[T]) Of(ctx context.Context, owned, orphans []*T) ([]*T, error) {
	mine := make([]*T, 0, len(owned))
	var errs []error
	ends := c.Owner.GetDeletionTimestamp() != nil
	for _, v := range owned {
		o := any(v).(metav1.Object)
		if c.Selector.Matches(labels.Set(o.GetLabels())) {
			mine = append(mine, v)
		} else if !ends {
			if err := c.release(ctx, o); err != nil {
				errs = append(errs, err)
			}
		}
	}
	// A selector that leaves nothing out is a mistake: it would adopt all there is.
	if ends || c.Selector.Empty() {
		return mine, errors.Join(errs...)
	}
	checked := false
	for _, v := range orphans {
		o := any(v).(metav1.Object)
		if o.GetDeletionTimestamp() != nil || !c.Selector.Matches(labels.Set(o.GetLabels())) ||
			c.Adoptable != nil && !c.Adoptable(v) {
			continue
		}
		if !checked {
			if err := c.mayAdopt(ctx); err != nil {
				errs = append(errs, err)
				break
			}
			checked = true
		}
		switch adopted, err := c.adopt(ctx, o); {
		case err != nil:
			errs = append(errs, err)
		case adopted:
			mine = append(mine, v)
		}
	}
	return mine, errors.Join(errs...)
}

func (c *Claim[T]) mayAdopt(ctx context.Context) error {
	live, err := c.Live(ctx)
	if err != nil {
		return err
	}
	if live.GetUID() != c.Owner.GetUID() {
		return fmt.Errorf("original %s %s/%s is gone: got uid %v, wanted %v", c.Kind.Kind, c.Owner.GetNamespace(), c.Owner.GetName(), live.GetUID(), c.Owner.GetUID())
	}
	if live.GetDeletionTimestamp() != nil {
		return fmt.Errorf("%s/%s has just been deleted at %v", live.GetNamespace(), live.GetName(), live.GetDeletionTimestamp())
	}
	return nil
}

// The patches name the object's uid, so that they fail if another object has
// taken its name.
type ownerPatch struct {
	Metadata struct {
		UID    types.UID `json:"uid"`
		Owners []any     `json:"ownerReferences"`
	} `json:"metadata"`
}

func (c *Claim[T]) adopt(ctx context.Context, o metav1.Object) (bool, error) {
	err := c.send(ctx, o, metav1.NewControllerRef(c.Owner, c.Kind))
	if IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("adopt %s: %w", o.GetName(), err)
	}
	return err == nil, nil
}

func (c *Claim[T]) release(ctx context.Context, o metav1.Object) error {
	err := c.send(ctx, o, map[string]any{"$patch": "delete", "uid": c.Owner.GetUID()})
	// Gone, or no longer ours: nothing is left to release.
	if GoneOrChanged(err) == nil {
		return nil
	}
	return fmt.Errorf("release %s: %w", o.GetName(), err)
}

func (c *Claim[T]) send(ctx context.Context, o metav1.Object, owner any) error {
	var p ownerPatch
	p.Metadata.UID = o.GetUID()
	p.Metadata.Owners = []any{owner}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return c.Patch(ctx, o.GetName(), body)
}
