package informer

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// listWatch is a Feed in the form that client-go's reflector reads.
type listWatch struct{ feed Feed }

// ListerWatcher returns a feed as reflectors read it, for those who need no
// store of their own.
func ListerWatcher(feed Feed) cache.ListerWatcher { return listWatch{feed} }

// List implements cache.ListerWatcher. The reflector's paging and its wish for
// any revision are moot: the feed always has the newest state, whole.
func (l listWatch) List(metav1.ListOptions) (runtime.Object, error) {
	items, revision, err := l.feed.List()
	if err != nil {
		return nil, err
	}
	return &list{ListMeta: metav1.ListMeta{ResourceVersion: revision}, Items: items}, nil
}

// ListWithContext implements cache.ListerWatcherWithContext.
func (l listWatch) ListWithContext(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
	return l.List(o)
}

// Watch implements cache.ListerWatcher. The wish for a time limit is moot too:
// nothing between here and the cache can break.
func (l listWatch) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return l.feed.Watch(o.ResourceVersion)
}

// WatchWithContext implements cache.ListerWatcherWithContext.
func (l listWatch) WatchWithContext(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return l.feed.Watch(o.ResourceVersion)
}

// IsWatchListSemanticsUnSupported tells the reflector to list and then watch:
// a list costs nothing here.
func (l listWatch) IsWatchListSemanticsUnSupported() bool { return true }

// list holds objects as they are. A typed list would hold copies.
type list struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []runtime.Object
}

// DeepCopyObject implements runtime.Object. Nobody has a reason to copy this.
func (l *list) DeepCopyObject() runtime.Object {
	c := &list{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy(), Items: make([]runtime.Object, len(l.Items))}
	for i, o := range l.Items {
		c.Items[i] = o.DeepCopyObject()
	}
	return c
}

// GetObjectKind implements runtime.Object.
func (l *list) GetObjectKind() schema.ObjectKind { return &l.TypeMeta }
