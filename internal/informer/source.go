package informer

import (
	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Feed is the list-watch of some objects of one kind. The objects are shared.
type Feed interface {
	// List returns the objects and the revision they are of.
	List() ([]runtime.Object, string, error)
	// Watch follows them from a revision that List returned. It ends with an
	// Error event, whose object is a Status, when it fell behind.
	Watch(revision string) (watch.Interface, error)
}

// Source finds the feed of a row, in one namespace or all (empty), narrowed by
// selectors (nil is all). It returns nil for a row it does not have; the
// informer then asks the API.
type Source func(row *scheme.Resource, namespace string, label labels.Selector, field fields.Selector) Feed

// FromCache returns the Source that is an API server's watch cache.
func FromCache(c *cache.Cache) Source {
	return func(row *scheme.Resource, namespace string, label labels.Selector, field fields.Selector) Feed {
		if lw := c.ListWatch(row, namespace, label, field); lw != nil {
			return lw
		}
		return nil
	}
}
