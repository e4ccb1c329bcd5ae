package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"clipper/internal/store"
)

func testWatch(t *testing.T, b Backend) {
	s := open(t, b)
	put(t, s, "/a/1", "1", 0)
	put(t, s, "/b/1", "1", 0)
	all, below, later := watch(t, s, "/", 1), watch(t, s, "/a/", 1), watch(t, s, "/a/", 3)
	put(t, s, "/a/1", "2", 2)
	put(t, s, "/ab", "1", 0)
	remove(t, s, "/a/1", 4)
	put(t, s, "/a/1", "3", 0)

	a := []string{"/a/1@2(2)=1", "/a/1@4(2)=2", "/a/1@6(2) gone", "/a/1@7(7)=3"}
	every := []string{a[0], "/b/1@3(3)=1", a[1], "/ab@5(5)=1", a[2], a[3]}
	for _, c := range []struct {
		name string
		w    *recorder
		want []string
	}{
		{"all", all, every},
		{"below", below, a},
		{"later", later, a[1:]},
		{"from the past", watch(t, s, "/", 1), every},
		{"from a middle", watch(t, s, "/a/", 4), a[2:]},
	} {
		if diff := cmp.Diff(c.want, briefEvents(c.w.until(t, 7))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}

	// What has ended sees nothing more.
	below.stop(t)
	n := len(below.seen())
	put(t, s, "/a/1", "4", 7)
	all.until(t, 8)
	if len(below.seen()) != n {
		t.Error("a watch that had returned saw an event")
	}
}

func testWatchErrors(t *testing.T, b Backend) {
	s := open(t, b)
	put(t, s, "/a", "1", 0)
	ctx := context.Background()
	never := func() { t.Error("started was called") }
	if err := s.Watch(ctx, "/", 3, never, nil); !errors.Is(err, store.ErrFuture) {
		t.Errorf("Watch of the future: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Watch(ended, "/", 2, nil, func([]store.Event) {}); err != nil {
		t.Errorf("Watch with an ended context: %v", err)
	}
}

func testSinkBeforeAck(t *testing.T, b Backend) {
	s := open(t, b)
	w := watch(t, s, "/", 1)
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for n := range 50 {
				revision := put(t, s, fmt.Sprintf("/%d/%d", c, n), "x", 0)
				if s.Revision() < revision {
					t.Errorf("Revision is behind the acknowledged %d", revision)
				}
			}
		})
	}
	wg.Wait()
	w.until(t, s.Revision())
}

// testWatchUnderWrites has writers change a few keys, conflicts included,
// while watches start at all revisions and end.
func testWatchUnderWrites(t *testing.T, b Backend) {
	s := open(t, b)
	ctx := context.Background()
	const writers, each = 8, 300
	whole := watch(t, s, "/", 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := map[int64]string{}
	for c := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 1))
			for n := range each {
				key := fmt.Sprintf("/%d/%d", r.IntN(3), r.IntN(3))
				w := store.Write{Key: key, Value: fmt.Appendf(nil, "%d.%d", c, n), Lazy: r.IntN(3) == 0}
				if item, err := s.Get(ctx, key); err == nil {
					w.Expect = item.Revision
					if r.IntN(4) == 0 {
						w.Value = nil
					}
				}
				revision, err := s.Apply(ctx, w)
				if errors.Is(err, store.ErrConflict) {
					continue
				}
				if err != nil {
					t.Errorf("Apply: %v", err)
					return
				}
				mu.Lock()
				if _, ok := made[revision]; ok {
					t.Errorf("revision %d was handed out twice", revision)
				}
				made[revision] = key + "=" + string(w.Value)
				mu.Unlock()
			}
		})
	}
	var parts []*recorder
	var starts []int64
	for range 20 {
		at := s.Revision()
		starts = append(starts, at)
		parts = append(parts, watch(t, s, "/1/", at))
	}
	wg.Wait()
	end := s.Revision()
	parts = append(parts, watch(t, s, "/1/", 1))
	starts = append(starts, 1)
	marker := put(t, s, "/1/end", "", 0)

	events := whole.until(t, marker)
	checkChain(t, events)
	for _, e := range events[:len(events)-1] {
		if got := e.Key + "=" + string(e.Value); made[e.Revision] != got {
			t.Fatalf("the event of revision %d is %s, but %q was written", e.Revision, got, made[e.Revision])
		}
	}
	if len(events)-1 != len(made) {
		t.Errorf("%d events for %d writes up to revision %d", len(events)-1, len(made), end)
	}
	for i, p := range parts {
		var want []string
		for _, e := range events {
			if strings.HasPrefix(e.Key, "/1/") && e.Revision > starts[i] {
				want = append(want, briefEvent(e))
			}
		}
		if diff := cmp.Diff(want, briefEvents(p.until(t, marker))); diff != "" {
			t.Fatalf("a watch after revision %d: %s", starts[i], diff)
		}
	}
}

// checkChain checks that each event follows from the one before of its key.
func checkChain(t testing.TB, events []store.Event) {
	t.Helper()
	now := map[string]store.Item{}
	var revision int64
	for _, e := range events {
		if e.Revision <= revision {
			t.Fatalf("revision %d comes after %d", e.Revision, revision)
		}
		revision = e.Revision
		old, exists := now[e.Key]
		switch {
		case e.Deleted && !exists:
			t.Fatalf("%s: there was nothing", briefEvent(e))
		case exists && e.CreateRevision != old.CreateRevision, !exists && e.CreateRevision != e.Revision:
			t.Fatalf("%s: the creation is wrong", briefEvent(e))
		}
		if e.Deleted {
			delete(now, e.Key)
		} else {
			now[e.Key] = e.Item
		}
	}
}
