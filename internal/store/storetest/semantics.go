package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clipper/internal/store"
)

func testSemantics(t *testing.T, b Backend) {
	s := open(t, b)
	ctx := context.Background()
	if got := s.Revision(); got != 1 {
		t.Errorf("an empty store is at revision %d, want 1", got)
	}
	value := func(v string) []byte { return []byte(v) }
	// Each step's revision is what a success returns.
	for i, c := range []struct {
		w    store.Write
		want int64
		err  error
		then string // what Get finds
	}{
		{store.Write{Key: "/a", Value: value("1"), Expect: 7}, 0, store.ErrConflict, ""},
		{store.Write{Key: "/a"}, 0, store.ErrConflict, ""},
		{store.Write{Key: "/a", Expect: 7}, 0, store.ErrConflict, ""},
		{store.Write{Key: "/a", Value: value("1")}, 2, nil, "/a@2(2)=1"},
		{store.Write{Key: "/a", Value: value("2")}, 0, store.ErrConflict, "/a@2(2)=1"},
		{store.Write{Key: "/a", Value: value("2"), Expect: 1}, 0, store.ErrConflict, "/a@2(2)=1"},
		{store.Write{Key: "/a", Value: value("2"), Expect: 3}, 0, store.ErrConflict, "/a@2(2)=1"},
		{store.Write{Key: "/a"}, 0, store.ErrConflict, "/a@2(2)=1"},
		{store.Write{Key: "/a", Value: value("2"), Expect: 2}, 3, nil, "/a@3(2)=2"},
		{store.Write{Key: "/a", Value: value("2"), Expect: 3}, 4, nil, "/a@4(2)=2"},
		{store.Write{Key: "/a/b", Value: value("x"), Lazy: true}, 5, nil, "/a/b@5(5)=x"},
		{store.Write{Key: "/a", Expect: 3}, 0, store.ErrConflict, "/a@4(2)=2"},
		{store.Write{Key: "/a", Expect: 4}, 6, nil, ""},
		{store.Write{Key: "/a", Expect: 4}, 0, store.ErrConflict, ""},
		{store.Write{Key: "/a", Expect: 6}, 0, store.ErrConflict, ""},
		{store.Write{Key: "/a", Value: value("3"), Expect: 6}, 0, store.ErrConflict, ""},
		{store.Write{Key: "/a", Value: []byte{}}, 7, nil, "/a@7(7)="},
		{store.Write{Key: "/a/b", Expect: 5, Lazy: true}, 8, nil, ""},
	} {
		got, err := s.Apply(ctx, c.w)
		if got != c.want || !errors.Is(err, c.err) {
			t.Fatalf("step %d: Apply: revision %d, error %v; want %d, %v", i, got, err, c.want, c.err)
		}
		if c.want != 0 && s.Revision() != c.want {
			t.Errorf("step %d: Revision is %d, want %d", i, s.Revision(), c.want)
		}
		item, err := s.Get(ctx, c.w.Key)
		if c.then == "" {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("step %d: Get: %v, %v; want ErrNotFound", i, brief(item), err)
			}
		} else if err != nil || brief(item) != c.then {
			t.Errorf("step %d: Get: %v, %v; want %s", i, brief(item), err, c.then)
		}
	}
}

func testBadInput(t *testing.T, b Backend) {
	s := open(t, b)
	ctx := context.Background()
	for _, w := range []store.Write{
		{Value: []byte("x")},
		{Key: "a\x00b", Value: []byte("x")},
		{Key: "/" + strings.Repeat("x", 1<<20), Value: []byte("x")},
		{Key: "/a", Value: make([]byte, 64<<20)},
	} {
		if _, err := s.Apply(ctx, w); err == nil || errors.Is(err, store.ErrConflict) {
			t.Errorf("Apply of a key of %d and a value of %d bytes: %v", len(w.Key), len(w.Value), err)
		}
	}
	if got := s.Revision(); got != 1 {
		t.Errorf("Revision is %d after refused writes", got)
	}
	if _, err := s.Get(ctx, ""); err == nil {
		t.Error("Get of an empty key succeeded")
	}
	if p, err := s.List(ctx, store.Range{Prefix: "a\x00b"}); err != nil || len(p.Items) > 0 {
		t.Errorf("List below a zero byte: %v, %v", p, err)
	}
}

func testList(t *testing.T, b Backend) {
	s := open(t, b)
	ctx := context.Background()
	put(t, s, "/a", "0", 0)    // 2
	put(t, s, "/a/1", "1", 0)  // 3
	put(t, s, "/a/2", "2", 0)  // 4
	put(t, s, "/a/3", "3", 0)  // 5
	put(t, s, "/ab", "4", 0)   // 6
	put(t, s, "/a/2", "2b", 4) // 7
	remove(t, s, "/a/3", 5)    // 8
	put(t, s, "/a/4", "5", 0)  // 9
	put(t, s, "/a/\xff", "6", 0)
	for r := int64(10); r < 40; r++ { // a key with a long past
		if r == 10 {
			put(t, s, "/a/1", "1", 3)
		} else {
			put(t, s, "/a/1", "1", r)
		}
	}
	for _, c := range []struct {
		name      string
		r         store.Range
		items     []string
		more      bool
		remaining int64
	}{
		{"all", store.Range{Prefix: "/"}, []string{"/a@2(2)=0", "/a/1@40(3)=1", "/a/2@7(4)=2b", "/a/4@9(9)=5", "/a/\xff@10(10)=6", "/ab@6(6)=4"}, false, 0},
		{"no prefix", store.Range{Limit: 1}, []string{"/a@2(2)=0"}, true, 5},
		{"below", store.Range{Prefix: "/a/"}, []string{"/a/1@40(3)=1", "/a/2@7(4)=2b", "/a/4@9(9)=5", "/a/\xff@10(10)=6"}, false, 0},
		{"none", store.Range{Prefix: "/b"}, []string{}, false, 0},
		{"past", store.Range{Prefix: "/a/", Revision: 5}, []string{"/a/1@3(3)=1", "/a/2@4(4)=2", "/a/3@5(5)=3"}, false, 0},
		{"before all", store.Range{Prefix: "/", Revision: 1}, []string{}, false, 0},
		{"limit", store.Range{Prefix: "/a/", Limit: 2}, []string{"/a/1@40(3)=1", "/a/2@7(4)=2b"}, true, 2},
		{"limit is all", store.Range{Prefix: "/a/", Limit: 4}, []string{"/a/1@40(3)=1", "/a/2@7(4)=2b", "/a/4@9(9)=5", "/a/\xff@10(10)=6"}, false, 0},
		{"after", store.Range{Prefix: "/a/", After: "/a/2", Limit: 1}, []string{"/a/4@9(9)=5"}, true, 1},
		{"after a key that is gone", store.Range{Prefix: "/a/", After: "/a/3"}, []string{"/a/4@9(9)=5", "/a/\xff@10(10)=6"}, false, 0},
		{"after in the past", store.Range{Prefix: "/a/", After: "/a/1", Revision: 5, Limit: 1}, []string{"/a/2@4(4)=2"}, true, 1},
		{"after the last", store.Range{Prefix: "/a/", After: "/a/\xff"}, []string{}, false, 0},
		{"after before the prefix", store.Range{Prefix: "/a/", After: "/", Limit: 1}, []string{"/a/1@40(3)=1"}, true, 3},
		{"after behind the prefix", store.Range{Prefix: "/a/", After: "/b"}, []string{}, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := s.List(ctx, c.r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.items, briefs(p.Items)); diff != "" {
				t.Error(diff)
			}
			want := c.r.Revision
			if want == 0 {
				want = 40
			}
			if p.Revision != want || p.More != c.more || p.Remaining != c.remaining {
				t.Errorf("revision %d, more %t, remaining %d; want %d, %t, %d", p.Revision, p.More, p.Remaining, want, c.more, c.remaining)
			}
		})
	}
	if _, err := s.List(ctx, store.Range{Prefix: "/", Revision: 41}); !errors.Is(err, store.ErrFuture) {
		t.Errorf("List in the future: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.List(cancelled, store.Range{Prefix: "/"}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("List with an ended context: %v", err)
	}
}

// object is what tests hand along with a value.
type object struct{ version string }

func (o *object) SetResourceVersion(v string) { o.version = v }

func testObjects(t *testing.T, b Backend) {
	s := open(t, b)
	w := watch(t, s, "/", 1)
	first, second, last := &object{}, &object{}, &object{}
	apply(t, s, store.Write{Key: "/a", Value: []byte("1"), Object: first})
	apply(t, s, store.Write{Key: "/a", Value: []byte("2"), Expect: 2, Object: second})
	apply(t, s, store.Write{Key: "/a", Expect: 3, Object: last})
	for i, e := range w.until(t, 4) {
		want := []*object{first, second, last}[i]
		if e.Object == nil {
			continue // a backend that cannot
		}
		if e.Object != store.Versioned(want) || want.version != fmt.Sprint(e.Revision) {
			t.Errorf("event %d has the object %v, want %v", i, e.Object, want)
		}
	}
}

func testCompaction(t *testing.T, b Backend) {
	s := open(t, b)
	ctx := context.Background()
	put(t, s, "/a", "1", 0) // 2
	put(t, s, "/b", "1", 0) // 3
	put(t, s, "/a", "2", 2) // 4
	remove(t, s, "/b", 3)   // 5
	put(t, s, "/a", "3", 4) // 6
	put(t, s, "/c", "1", 0) // 7
	if err := s.Compact(ctx, 8); !errors.Is(err, store.ErrFuture) {
		t.Errorf("Compact of the future: %v", err)
	}
	for range 2 { // the second does nothing
		if err := s.Compact(ctx, 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Compact(ctx, 3); err != nil {
		t.Errorf("Compact of what is compacted: %v", err)
	}
	for r := int64(1); r < 5; r++ {
		if _, err := s.List(ctx, store.Range{Prefix: "/", Revision: r}); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("List at %d: %v, want ErrCompacted", r, err)
		}
		if err := s.Watch(ctx, "/", r, nil, nil); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("Watch after %d: %v, want ErrCompacted", r, err)
		}
	}
	for r, want := range map[int64][]string{
		0: {"/a@6(2)=3", "/c@7(7)=1"},
		5: {"/a@4(2)=2"},
		6: {"/a@6(2)=3"},
		7: {"/a@6(2)=3", "/c@7(7)=1"},
	} {
		p, err := s.List(ctx, store.Range{Prefix: "/", Revision: r})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, briefs(p.Items)); diff != "" {
			t.Errorf("List at %d: %s", r, diff)
		}
	}
	w := watch(t, s, "/", 5)
	if diff := cmp.Diff([]string{"/a@6(2)=3", "/c@7(7)=1"}, briefEvents(w.until(t, 7))); diff != "" {
		t.Error(diff)
	}
	// A key that was forgotten whole begins anew.
	if err := s.Compact(ctx, 7); err != nil {
		t.Fatal(err)
	}
	put(t, s, "/b", "2", 0)
	if item, err := s.Get(ctx, "/b"); err != nil || brief(item) != "/b@8(8)=2" {
		t.Errorf("Get: %s, %v", brief(item), err)
	}
}

func briefEvents(events []store.Event) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, briefEvent(e))
	}
	return out
}

func testTTL(t *testing.T, b Backend) {
	if b.Advance == nil {
		t.Log("the backend's clock cannot be moved: TTLs are not tested")
		return
	}
	s := open(t, b)
	ctx := context.Background()
	w := watch(t, s, "/", 1)
	write := func(key string, expect int64, ttl time.Duration) int64 {
		t.Helper()
		return apply(t, s, store.Write{Key: key, Value: []byte("x"), Expect: expect, TTL: ttl})
	}
	write("/short", 0, time.Minute)                 // 2
	write("/renewed", 0, time.Minute)               // 3
	write("/kept", 0, time.Minute)                  // 4
	write("/deleted", 0, time.Minute)               // 5
	write("/long", 0, time.Hour)                    // 6
	b.Advance(50 * time.Second)                     //
	write("/renewed", 3, 100*time.Second)           // 7
	write("/kept", 4, 0)                            // 8
	remove(t, s, "/deleted", 5)                     // 9
	if _, err := s.Get(ctx, "/short"); err != nil { // not yet
		t.Errorf("Get before the TTL: %v", err)
	}
	b.Advance(20 * time.Second)
	if got := briefEvent(last(w.until(t, 10))); got != "/short@10(2) gone" {
		t.Errorf("the first to expire: %s", got)
	}
	b.Advance(100 * time.Second)
	if got := briefEvent(last(w.until(t, 11))); got != "/renewed@11(3) gone" {
		t.Errorf("the second to expire: %s", got)
	}
	if b.Outlives {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, b)
		w = watch(t, s, "/", 11)
	}
	b.Advance(2 * time.Hour)
	if got := briefEvent(last(w.until(t, 12))); got != "/long@12(6) gone" {
		t.Errorf("the last to expire: %s", got)
	}
	p, err := s.List(ctx, store.Range{Prefix: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/kept@8(4)=x"}, briefs(p.Items)); diff != "" {
		t.Error(diff)
	}
}

func last(events []store.Event) store.Event { return events[len(events)-1] }

func testCancelled(t *testing.T, b Backend) {
	s := open(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Apply(ctx, store.Write{Key: "/a", Value: []byte("1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply with an ended context: %v", err)
	}
	if _, err := s.Get(context.Background(), "/a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
}

func testClosed(t *testing.T, b Backend) {
	s := b.Open(t)
	ctx := context.Background()
	put(t, s, "/a", "1", 0)
	ended := make(chan error, 1)
	started := make(chan struct{})
	go func() { ended <- s.Watch(ctx, "/", 1, func() { close(started) }, func([]store.Event) {}) }()
	<-started
	for range 2 { // the second does nothing
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ended:
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("Watch returned %v", err)
		}
	case <-time.After(patience):
		t.Error("Watch did not return")
	}
	_, applied := s.Apply(ctx, store.Write{Key: "/b", Value: []byte("1")})
	_, got := s.Get(ctx, "/a")
	_, listed := s.List(ctx, store.Range{Prefix: "/"})
	for what, err := range map[string]error{
		"Apply": applied, "Get": got, "List": listed,
		"Compact": s.Compact(ctx, 2),
		"Watch":   s.Watch(ctx, "/", 2, nil, nil),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func testReopen(t *testing.T, b Backend) {
	if !b.Outlives {
		return
	}
	s := b.Open(t)
	ctx := context.Background()
	put(t, s, "/a", "1", 0)
	put(t, s, "/a", "2", 2)
	apply(t, s, store.Write{Key: "/b", Value: []byte("1"), Lazy: true})
	put(t, s, "/c", "1", 0)
	remove(t, s, "/c", 5)
	if err := s.Compact(ctx, 3); err != nil {
		t.Fatal(err)
	}
	for range 3 { // reading alone changes nothing
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = b.Open(t)
		if got := s.Revision(); got != 6 {
			t.Errorf("Revision is %d, want 6", got)
		}
		p, err := s.List(ctx, store.Range{Prefix: "/"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"/a@3(2)=2", "/b@4(4)=1"}, briefs(p.Items)); diff != "" {
			t.Error(diff)
		}
		if _, err := s.List(ctx, store.Range{Prefix: "/", Revision: 2}); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("List at 2: %v", err)
		}
		w := watch(t, s, "/", 3)
		if diff := cmp.Diff([]string{"/b@4(4)=1", "/c@5(5)=1", "/c@6(5) gone"}, briefEvents(w.until(t, 6))); diff != "" {
			t.Error(diff)
		}
		w.stop(t)
	}
	if got := put(t, s, "/c", "2", 0); got != 7 {
		t.Errorf("the next revision is %d, want 7", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
