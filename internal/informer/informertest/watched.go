// Package informertest tells tests when a fake clientset is watched.
//
// A fake's watch begins with what happens after it, whatever version it asks
// for: what changes between an informer's list and its watch, which is after
// the informer has synced, is lost. A test that changes an object waits until
// it is watched.
package informertest

import (
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
)

// Client is a fake clientset.
type Client interface {
	PrependWatchReactor(resource string, reaction clienttesting.WatchReactionFunc)
	Tracker() clienttesting.ObjectTracker
}

// Watched knows what of a fake clientset is watched.
type Watched struct {
	mu    sync.Mutex
	seen  map[string]int
	news  chan struct{} // closed, and replaced, at each watch
	limit time.Duration
}

// Watch looks at a clientset's watches from now on.
func Watch(client Client) *Watched {
	w := &Watched{seen: map[string]int{}, news: make(chan struct{}), limit: time.Minute}
	client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		// The tracker's watch is there before it is told of.
		var options metav1.ListOptions
		if a, ok := a.(clienttesting.WatchActionImpl); ok {
			options = a.ListOptions
		}
		i, err := client.Tracker().Watch(a.GetResource(), a.GetNamespace(), options)
		if err != nil {
			return true, nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[a.GetResource().Resource]++
		close(w.news)
		w.news = make(chan struct{})
		return true, i, nil
	})
	return w
}

// Count returns how many watches of a resource have begun.
func (w *Watched) Count(resource string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[resource]
}

// Wait returns when the resource has been watched more than so many times.
func (w *Watched) Wait(t testing.TB, resource string, more int) {
	t.Helper()
	timer := time.NewTimer(w.limit)
	defer timer.Stop()
	for {
		w.mu.Lock()
		n, news := w.seen[resource], w.news
		w.mu.Unlock()
		if n > more {
			return
		}
		select {
		case <-news:
		case <-timer.C:
			t.Fatalf("%s: watched %d times, want more than %d", resource, n, more)
		}
	}
}
