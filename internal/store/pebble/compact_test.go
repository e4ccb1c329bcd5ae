package pebble

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"clipper/internal/store"
)

// count returns how many records each space holds.
func count(t *testing.T, s *Store) map[byte]int {
	t.Helper()
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := map[byte]int{}
	for ok := it.First(); ok; ok = it.Next() {
		n[it.Key()[0]]++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestForgotten shows that compaction leaves nothing of the past: not a state,
// not a tombstone, not an entry of the log or of what expires.
func TestForgotten(t *testing.T) {
	s := mustOpen(t, Config{Dir: t.TempDir(), HistoryKept: -1})
	defer s.Close()
	ctx := context.Background()
	at := map[string]int64{}
	for n := range 5000 {
		key := fmt.Sprint("/", n%50)
		w := store.Write{Key: key, Value: []byte("x"), Expect: at[key], Lazy: true}
		if n%3 == 0 {
			w.TTL = time.Hour
		}
		if n%7 == 0 && at[key] != 0 {
			w.Value = nil
		}
		revision, err := s.Apply(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		if at[key] = revision; w.Value == nil {
			delete(at, key)
		}
	}
	if n := count(t, s); n[versionSpace] != 5000 || n[logSpace] != 5000 {
		t.Fatalf("before: %v", n)
	}
	if err := s.Compact(ctx, s.Revision()); err != nil {
		t.Fatal(err)
	}
	expiring := 0
	for key := range at {
		st, err := s.db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		st.SeekGE(appendVersionKey(nil, key, at[key]))
		if v, _, err := stateAt(st); err != nil {
			t.Error(err)
		} else if v.expires != 0 {
			expiring++
		}
		st.Close()
	}
	n := count(t, s)
	if n[versionSpace] != len(at) || n[logSpace] != 0 || n[expirySpace] != expiring {
		t.Errorf("after, with %d keys of which %d expire: %v", len(at), expiring, n)
	}
}

// TestHistoryKept has the past forgotten as time goes by and writes go on.
func TestHistoryKept(t *testing.T) {
	clock := clocktesting.NewFakeClock(testTime)
	s := mustOpen(t, Config{Memory: true, Clock: clock, HistoryKept: time.Minute})
	defer s.Close()
	var at int64
	write := func() int64 {
		t.Helper()
		revision, err := s.Apply(context.Background(), store.Write{Key: "/a", Value: []byte("x"), Expect: at})
		if err != nil {
			t.Fatal(err)
		}
		at = revision
		return revision
	}
	for range 200 {
		clock.Step(time.Second)
		write()
		// A second is a revision: what is a minute old may go, not more.
		if gone := s.compacted.Load(); gone > 0 && gone > s.Revision()-60 {
			t.Fatalf("at %d, %d is forgotten", s.Revision(), gone)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); s.compacted.Load() < 120 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if gone := s.compacted.Load(); gone < 120 {
		t.Errorf("at %d, only %d is forgotten", s.Revision(), gone)
	}
}
