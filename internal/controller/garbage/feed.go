package garbage

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// feed writes what becomes of one resource's objects to the graph. To its
// reflector it is a store that keeps nothing.
type feed struct {
	g        *Controller
	resource *resource
	stop     context.CancelFunc
	once     sync.Once
	synced   chan struct{}
}

// start runs the feed of a resource until ctx ends or it is stopped.
func (g *Controller) start(ctx context.Context, r *resource) *feed {
	ctx, cancel := context.WithCancel(ctx)
	f := &feed{g: g, resource: r, stop: cancel, synced: make(chan struct{})}
	var lw cache.ListerWatcher
	if g.Source != nil {
		lw = g.Source(r.GroupVersionResource)
	}
	if lw == nil {
		lw = f.overMetadata()
	}
	reflector := cache.NewReflectorWithOptions(lw, nil, f, cache.ReflectorOptions{
		Name: "garbage " + r.String(), TypeDescription: r.String(), Clock: g.Clock,
	})
	g.refs.Go(func() { reflector.RunWithContext(ctx) })
	return f
}

func (f *feed) overMetadata() cache.ListerWatcher {
	client := f.g.Metadata.Resource(f.resource.GroupVersionResource)
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, o)
		},
	}, f.g.Metadata)
}

// Name and Done implement cache.DoneChecker: the first list is in the graph.
func (f *feed) Name() string          { return f.resource.String() }
func (f *feed) Done() <-chan struct{} { return f.synced }

// Add and Update implement cache.ReflectorStore.
func (f *feed) Add(obj any) error    { return f.observe(obj) }
func (f *feed) Update(obj any) error { return f.observe(obj) }

func (f *feed) observe(obj any) error {
	o, ok := obj.(metav1.Object)
	if !ok {
		return fmt.Errorf("%T has no metadata", obj)
	}
	f.g.mu.Lock()
	todo := f.g.graph.observe(f.resource, o)
	f.g.mu.Unlock()
	f.g.add(todo)
	return nil
}

// Delete implements cache.ReflectorStore.
func (f *feed) Delete(obj any) error {
	o, ok := obj.(metav1.Object)
	if !ok {
		return fmt.Errorf("%T has no metadata", obj)
	}
	f.g.mu.Lock()
	todo := f.g.graph.gone(o.GetUID())
	f.g.mu.Unlock()
	f.g.add(todo)
	return nil
}

// Replace implements cache.ReflectorStore.
func (f *feed) Replace(objs []any, _ string) error {
	have := make(map[types.UID]struct{}, len(objs))
	for _, obj := range objs {
		if err := f.observe(obj); err != nil {
			return err
		}
		have[obj.(metav1.Object).GetUID()] = struct{}{}
	}
	f.g.mu.Lock()
	todo := f.g.graph.without(f.resource, have)
	f.g.mu.Unlock()
	f.g.add(todo)
	f.once.Do(func() { close(f.synced) })
	return nil
}

// Resync implements cache.ReflectorStore.
func (f *feed) Resync() error { return nil }
