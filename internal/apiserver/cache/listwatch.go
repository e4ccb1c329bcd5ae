package cache

import (
	"context"
	"strconv"
	"sync"

	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// ListWatch is list-watch for consumers in this process: the objects are the
// cache's own, shared and read-only.
type ListWatch struct {
	r   *Resource
	row *scheme.Resource
	sel *Selection
}

// ListWatch returns the list-watch of a row, of one namespace or all (empty),
// narrowed by selectors (nil is all). It returns nil if the row is not stored.
func (c *Cache) ListWatch(row *scheme.Resource, namespace string, label labels.Selector, field fields.Selector) *ListWatch {
	r := c.Resource(row)
	if r == nil {
		return nil
	}
	return &ListWatch{r, row, r.Select(namespace, label, field)}
}

// List returns the objects in order of their keys and the revision they are of.
func (l *ListWatch) List() ([]runtime.Object, string, error) {
	s := l.r.Snapshot()
	var objs []runtime.Object
	if l.sel.everything() {
		objs = make([]runtime.Object, 0, s.Len())
	}
	var failed error
	all := l.sel.Whole()
	s.Ascend(l.sel, "", func(e *Entry) bool {
		if all || l.sel.Matches(e) {
			var o runtime.Object
			if o, failed = l.form(e.Object); failed != nil {
				return false
			}
			objs = append(objs, o)
		}
		return true
	})
	return objs, strconv.FormatInt(s.Revision, 10), failed
}

func (l *ListWatch) form(o runtime.Object) (runtime.Object, error) {
	if l.row == l.row.Stored || l.row.FromStored == nil {
		return o, nil
	}
	return l.row.FromStored(o)
}

// Watch follows the objects from a revision that List returned; an empty one
// starts with what exists, as ADDED. The watch ends with an ERROR event of
// status 410 when it fell behind, and otherwise only by Stop.
func (l *ListWatch) Watch(rv string) (watch.Interface, error) {
	o := WatchOptions{Initial: rv == "" || rv == "0"}
	if !o.Initial {
		n, err := strconv.ParseInt(rv, 10, 64)
		if err != nil || n < 0 {
			return nil, apierrors.NewBadRequest("invalid resource version " + strconv.Quote(rv))
		}
		o.Revision = n
	}
	w, err := l.r.Watch(context.Background(), l.sel, o)
	if err != nil {
		return nil, err
	}
	s := &stream{l: l, w: w, out: make(chan watch.Event, 64), stop: make(chan struct{})}
	go s.run()
	return s, nil
}

// Get returns the newest state of an object, shared and read-only, or false.
func (c *Cache) Get(row *scheme.Resource, namespace, name string) (runtime.Object, bool) {
	r := c.Resource(row)
	if r == nil {
		return nil, false
	}
	if e := r.Get(Key(namespace, name)); e != nil {
		return e.Object, true
	}
	return nil, false
}

// Object returns the metadata of the newest state of an object, shared and
// read-only, or nil if there is none.
func (c *Cache) Object(resource schema.GroupResource, namespace, name string) metav1.Object {
	r := c.byName[resource]
	if r == nil {
		return nil
	}
	if e := r.Get(Key(namespace, name)); e != nil {
		return e.Meta()
	}
	return nil
}

// Objects returns the newest state of all objects of a namespace, or of the
// whole cluster if it is empty, shared and read-only.
func (c *Cache) Objects(resource schema.GroupResource, namespace string) []runtime.Object {
	r := c.byName[resource]
	if r == nil {
		return nil
	}
	var objs []runtime.Object
	r.Snapshot().Ascend(r.Select(namespace, nil, nil), "", func(e *Entry) bool {
		objs = append(objs, e.Object)
		return true
	})
	return objs
}

// Await returns an object's metadata as soon as it exists, shared and
// read-only, or nil when ctx ends.
func (c *Cache) Await(ctx context.Context, resource schema.GroupResource, namespace, name string) metav1.Object {
	if m := c.Object(resource, namespace, name); m != nil {
		return m
	}
	r := c.byName[resource]
	if r == nil {
		return nil
	}
	w, err := r.Watch(ctx, r.Select(namespace, nil, fields.OneTermEqualSelector("metadata.name", name)), WatchOptions{Initial: true})
	if err != nil {
		return nil
	}
	defer w.Close()
	for {
		b, bell, err := w.Next()
		if err != nil {
			return nil
		}
		for _, d := range b.Deliveries() {
			if d.Type != watch.Deleted {
				return d.Entry.Meta()
			}
		}
		if bell == nil {
			continue
		}
		select {
		case <-bell:
		case <-ctx.Done():
			return nil
		}
	}
}

// stream makes a watch.Interface of a Watcher.
type stream struct {
	l    *ListWatch
	w    *Watcher
	out  chan watch.Event
	stop chan struct{}
	once sync.Once
}

func (s *stream) Stop()                          { s.once.Do(func() { close(s.stop) }) }
func (s *stream) ResultChan() <-chan watch.Event { return s.out }

func (s *stream) run() {
	defer close(s.out)
	defer s.w.Close()
	for {
		b, bell, err := s.w.Next()
		for _, d := range b.Deliveries() {
			obj, ferr := s.l.form(d.Entry.Object)
			if ferr != nil {
				s.fail(ferr)
				return
			}
			select {
			case s.out <- watch.Event{Type: d.Type, Object: obj}:
			case <-s.stop:
				return
			}
		}
		if err != nil {
			s.fail(err)
			return
		}
		if bell == nil {
			continue
		}
		select {
		case <-bell:
		case <-s.stop:
			return
		}
	}
}

func (s *stream) fail(err error) {
	status, ok := err.(apierrors.APIStatus)
	if !ok {
		status = apierrors.NewInternalError(err)
	}
	st := status.Status()
	select {
	case s.out <- watch.Event{Type: watch.Error, Object: &st}:
	case <-s.stop:
	}
}
