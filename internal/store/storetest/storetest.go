// Package storetest is the one suite that every backend of package store must
// pass: what each operation answers, that histories of concurrent clients are
// linearizable, that random histories match a model, and that watches lose,
// repeat and reorder nothing.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"clipper/internal/store"
)

// Backend is one empty place for a store, made for one test.
type Backend struct {
	// Open opens the store in the place. A test closes what it opened, and
	// opens again only then.
	Open func(t testing.TB) store.Store
	// Outlives tells whether what was written is still there after Close and
	// Open.
	Outlives bool
	// Advance lets time pass for the store, for TTLs; nil if it has no clock
	// that a test can move.
	Advance func(time.Duration)
}

// Run runs the suite. The factory makes a new empty place for each test.
func Run(t *testing.T, factory func(t testing.TB) Backend) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Backend)
	}{
		{"Semantics", testSemantics},
		{"BadInput", testBadInput},
		{"List", testList},
		{"Objects", testObjects},
		{"Compaction", testCompaction},
		{"Watch", testWatch},
		{"WatchErrors", testWatchErrors},
		{"WatchUnderWrites", testWatchUnderWrites},
		{"SinkBeforeAck", testSinkBeforeAck},
		{"TTL", testTTL},
		{"Cancelled", testCancelled},
		{"Closed", testClosed},
		{"Reopen", testReopen},
		{"Linearizable", testLinearizable},
		{"Model", testModel},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, factory(t)) })
	}
}

// patience bounds waits for what must come; it is never waited out in a test
// that passes.
const patience = 30 * time.Second

// open opens the backend's store and closes it at the end of the test.
func open(t testing.TB, b Backend) store.Store {
	t.Helper()
	s := b.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func put(t testing.TB, s store.Store, key, value string, expect int64) int64 {
	t.Helper()
	return apply(t, s, store.Write{Key: key, Value: []byte(value), Expect: expect})
}

func remove(t testing.TB, s store.Store, key string, expect int64) int64 {
	t.Helper()
	return apply(t, s, store.Write{Key: key, Expect: expect})
}

func apply(t testing.TB, s store.Store, w store.Write) int64 {
	t.Helper()
	revision, err := s.Apply(context.Background(), w)
	if err != nil {
		t.Fatalf("Apply %s: %v", w.Key, err)
	}
	return revision
}

// brief is what tests compare: an item without its object.
func brief(i store.Item) string {
	if i.Value == nil {
		return fmt.Sprintf("%s@%d(%d) gone", i.Key, i.Revision, i.CreateRevision)
	}
	return fmt.Sprintf("%s@%d(%d)=%s", i.Key, i.Revision, i.CreateRevision, i.Value)
}

func briefs(items []store.Item) []string {
	out := []string{}
	for _, i := range items {
		out = append(out, brief(i))
	}
	return out
}

func briefEvent(e store.Event) string {
	s := brief(e.Item)
	if e.Deleted != (e.Value == nil) {
		s += " Deleted is wrong"
	}
	return s
}

// recorder is a watch and all it has seen.
type recorder struct {
	mu      sync.Mutex
	events  []store.Event
	grown   chan struct{}
	started chan struct{}
	cancel  context.CancelFunc
	ended   chan error
	active  bool
	overlap bool
}

func watch(t testing.TB, s store.Store, prefix string, after int64) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &recorder{grown: make(chan struct{}, 1), started: make(chan struct{}), cancel: cancel, ended: make(chan error, 1)}
	go func() {
		r.ended <- s.Watch(ctx, prefix, after, func() { close(r.started) }, r.sink)
	}()
	select {
	case <-r.started:
	case err := <-r.ended:
		t.Fatalf("Watch: %v", err)
	case <-time.After(patience):
		t.Fatal("Watch did not start")
	}
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *recorder) sink(events []store.Event) {
	r.mu.Lock()
	if r.active {
		r.overlap = true
	}
	r.active = true
	r.events = append(r.events, events...)
	r.active = false
	r.mu.Unlock()
	select {
	case r.grown <- struct{}{}:
	default:
	}
}

func (r *recorder) seen() []store.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]store.Event(nil), r.events...)
}

// until waits for the event of a revision and returns all up to it.
func (r *recorder) until(t testing.TB, revision int64) []store.Event {
	t.Helper()
	timeout := time.After(patience)
	for {
		for i, e := range r.seen() {
			if e.Revision >= revision {
				return r.seen()[:i+1]
			}
		}
		select {
		case <-r.grown:
		case <-timeout:
			t.Fatalf("no event of revision %d; there are %d events", revision, len(r.seen()))
		}
	}
}

// stop ends the watch, which must return nil.
func (r *recorder) stop(t testing.TB) {
	r.cancel()
	select {
	case err := <-r.ended:
		if err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("Watch returned %v", err)
		}
		r.ended <- err
	case <-time.After(patience):
		t.Error("Watch did not return")
	}
	if r.overlap {
		t.Error("the sink was called by two goroutines at once")
	}
}
