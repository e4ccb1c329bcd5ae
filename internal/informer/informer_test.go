package informer

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

// fakeFeed is a feed that a test writes to.
type fakeFeed struct {
	mu       sync.Mutex
	revision int
	objects  map[string]runtime.Object
	oldest   int
	events   []watch.Event
	watches  []*fakeWatch
	lists    int
	from     []string
}

type fakeWatch struct {
	events chan watch.Event
	stop   sync.Once
}

func (w *fakeWatch) Stop()                          { w.stop.Do(func() { close(w.events) }) }
func (w *fakeWatch) ResultChan() <-chan watch.Event { return w.events }

func (f *fakeFeed) List() ([]runtime.Object, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	var all []runtime.Object
	for _, o := range f.objects {
		all = append(all, o)
	}
	return all, strconv.Itoa(f.revision), nil
}

func (f *fakeFeed) Watch(revision string) (watch.Interface, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, err := strconv.Atoi(revision)
	if err != nil {
		return nil, fmt.Errorf("watch from revision %q", revision)
	}
	w := &fakeWatch{events: make(chan watch.Event, 1000)}
	f.from = append(f.from, revision)
	if from < f.oldest {
		w.events <- expired
		return w, nil
	}
	for _, e := range f.events {
		if at, _ := strconv.Atoi(e.Object.(*corev1.Pod).ResourceVersion); at > from {
			w.events <- e
		}
	}
	f.watches = append(f.watches, w)
	return w, nil
}

// write makes the next revision of a pod and tells the watches.
func (f *fakeFeed) write(t watch.EventType, name string) *corev1.Pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	pod := f.change(t, name)
	e := watch.Event{Type: t, Object: pod}
	f.events = append(f.events, e)
	for _, w := range f.watches {
		w.events <- e
	}
	return pod
}

func (f *fakeFeed) change(t watch.EventType, name string) *corev1.Pod {
	f.revision++
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, ResourceVersion: strconv.Itoa(f.revision)}}
	if t == watch.Deleted {
		delete(f.objects, name)
	} else {
		f.objects[name] = pod
	}
	return pod
}

var expired = watch.Event{Type: watch.Error, Object: &metav1.Status{
	Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: "too old resource version",
}}

// expire ends the watches as a cache does to those who fell behind: they miss
// the changes made here.
func (f *fakeFeed) expire(changes func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes()
	f.oldest, f.events = f.revision, nil
	for _, w := range f.watches {
		w.events <- expired
	}
	f.watches = nil
}

// seen records what a handler is told.
func seen(informer cache.SharedIndexInformer, t *testing.T) <-chan string {
	told := make(chan string, 1000)
	name := func(o any) string {
		pod := o.(*corev1.Pod)
		return pod.Name + "@" + pod.ResourceVersion
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { told <- "add " + name(o) },
		UpdateFunc: func(_, o any) { told <- "update " + name(o) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			told <- "delete " + name(o)
		},
	}); err != nil {
		t.Fatal(err)
	}
	return told
}

func expect(t *testing.T, told <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := <-told; got != w {
			t.Fatalf("handler was told %q, want %q", got, w)
		}
	}
}

func TestObjectsAreTheSourcesOwn(t *testing.T) {
	table := scheme.New()
	feed := &fakeFeed{objects: map[string]runtime.Object{}, revision: 7}
	a := feed.write(watch.Added, "a")
	source := func(row *scheme.Resource, _ string, _ labels.Selector, _ fields.Selector) Feed {
		if row.Name == "pods" {
			return feed
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	factory := New(table, source, fake.NewClientset())
	defer factory.Shutdown()
	defer cancel()
	pods := factory.Core().V1().Pods()
	told := seen(pods.Informer(), t)
	generic, err := factory.ForResource(corev1.SchemeGroupVersion.WithResource("pods"))
	if err != nil {
		t.Fatal(err)
	}
	if generic.Informer() != pods.Informer() {
		t.Fatal("the same kind has two informers")
	}
	factory.StartWithContext(ctx)
	if err := factory.WaitForCacheSyncWithContext(ctx).AsError(); err != nil {
		t.Fatal(err)
	}
	expect(t, told, "add a@8")
	if got, err := pods.Lister().Pods("default").Get("a"); err != nil || got != a {
		t.Fatalf("listed pod is %p (%v), the source's own is %p", got, err, a)
	}

	b := feed.write(watch.Added, "b")
	feed.write(watch.Modified, "a")
	feed.write(watch.Deleted, "a")
	expect(t, told, "add b@9", "update a@10", "delete a@11")
	if got, err := pods.Lister().Pods("default").Get("b"); err != nil || got != b {
		t.Fatalf("watched pod is %p (%v), the source's own is %p", got, err, b)
	}
	if feed.lists != 1 || feed.from[0] != "8" {
		t.Fatalf("%d lists, watches from %q; want one list and a watch from its revision", feed.lists, feed.from)
	}
}

func TestFallingBehindStartsAnew(t *testing.T) {
	feed := &fakeFeed{objects: map[string]runtime.Object{}}
	feed.write(watch.Added, "a")
	feed.write(watch.Added, "b")
	source := func(_ *scheme.Resource, _ string, _ labels.Selector, field fields.Selector) Feed {
		if field.String() != "spec.nodeName=n1" {
			t.Errorf("field selector %q", field)
		}
		return feed
	}
	informer := NodePods(scheme.New(), source, "n1")
	told := seen(informer, t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); informer.RunWithContext(ctx) }()
	defer func() { cancel(); <-done }()
	initial := map[string]bool{<-told: true, <-told: true}
	if !initial["add a@1"] || !initial["add b@2"] {
		t.Fatalf("initial state is %v", initial)
	}
	feed.expire(func() {
		feed.change(watch.Deleted, "a")
		feed.change(watch.Modified, "b")
		feed.change(watch.Added, "c")
	})
	got := map[string]bool{}
	for len(got) < 3 {
		got[<-told] = true
	}
	for _, want := range []string{"delete a@1", "update b@4", "add c@5"} {
		if !got[want] {
			t.Errorf("handler was told %v, not %q", got, want)
		}
	}
}

func TestRemoteForWhatTheSourceLacks(t *testing.T) {
	none := func(*scheme.Resource, string, labels.Selector, fields.Selector) Feed { return nil }
	factory := New(scheme.New(), none, fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "y"}}))
	ctx, cancel := context.WithCancel(t.Context())
	defer factory.Shutdown()
	defer cancel()
	maps := factory.Core().V1().ConfigMaps()
	maps.Informer()
	factory.StartWithContext(ctx)
	if err := factory.WaitForCacheSyncWithContext(ctx).AsError(); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Lister().ConfigMaps("x").Get("y"); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkEvent(b *testing.B) {
	feed := &fakeFeed{objects: map[string]runtime.Object{}}
	informer := NodePods(scheme.New(), func(*scheme.Resource, string, labels.Selector, fields.Selector) Feed { return feed }, "n")
	told := make(chan struct{}, 1000)
	informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { told <- struct{}{} }})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); informer.RunWithContext(ctx) }()
	defer func() { cancel(); <-done }()
	feed.write(watch.Added, "first")
	<-told
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		feed.write(watch.Added, fmt.Sprint(i))
		<-told
	}
}
