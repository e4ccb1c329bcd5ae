package pebble

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"clipper/internal/store"
)

// TestCrash lets power fail at random moments under concurrent writers: what
// was acknowledged, and not lazy, is there afterwards, nothing is half there,
// and no revision is handed out twice.
func TestCrash(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			fs := vfs.NewCrashableMem()
			seen := map[int64]string{} // what watches or writers were told
			kept := map[string]store.Item{}
			for range 4 {
				s := mustOpen(t, Config{Dir: "/store", FS: fs})
				checkKept(t, s, kept)
				crashed := runUntilCrash(t, s, fs, rng, seen, kept)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				fs = crashed
			}
			s := mustOpen(t, Config{Dir: "/store", FS: fs})
			checkKept(t, s, kept)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// runUntilCrash writes with several clients and returns what the disk would
// hold if power failed in their midst.
func runUntilCrash(t *testing.T, s *Store, fs *vfs.MemFS, rng *rand.Rand, seen map[int64]string, kept map[string]store.Item) *vfs.MemFS {
	ctx := context.Background()
	var mu sync.Mutex // guards what follows; held, no write is acknowledged
	var clone *vfs.MemFS
	total, at := 0, 100+rng.IntN(300)
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rand.New(rand.NewPCG(rng.Uint64(), 4))}
	note := func(revision int64, what string) {
		if old, ok := seen[revision]; ok && old != what {
			t.Errorf("revision %d was handed out for %s and for %s", revision, old, what)
		}
		seen[revision] = what
	}
	var wg sync.WaitGroup
	for c := range 5 {
		r := rand.New(rand.NewPCG(rng.Uint64(), 2))
		wg.Go(func() {
			for n := range 100 {
				key := fmt.Sprintf("/%d/%d", c, r.IntN(5))
				mu.Lock()
				old := kept[key]
				if clone != nil {
					mu.Unlock()
					return
				}
				mu.Unlock()
				w := store.Write{Key: key, Value: fmt.Appendf(nil, "%d-%d-%d", c, n, r.Uint64()), Expect: old.Revision}
				// Keys of the last client are lazy, and so may be lost.
				w.Lazy = c == 4
				if w.Lazy {
					if item, err := s.Get(ctx, key); err == nil {
						w.Expect = item.Revision
					} else {
						w.Expect = 0
					}
				}
				if r.IntN(5) == 0 && w.Expect != 0 {
					w.Value = nil
				}
				revision, err := s.Apply(ctx, w)
				if err != nil {
					t.Errorf("Apply %s: %v", key, err)
					return
				}
				mu.Lock()
				note(revision, key+"="+string(w.Value))
				if clone == nil && !w.Lazy {
					if w.Value == nil {
						delete(kept, key)
					} else {
						kept[key] = store.Item{Key: key, Value: w.Value, Revision: revision}
					}
				} else if clone != nil && !w.Lazy {
					// Acknowledged after the crash: it may be there or not.
					kept[key] = store.Item{Key: key, Revision: -1}
				}
				if total++; total == at {
					clone = fs.CrashClone(cfg)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if clone == nil {
		clone = fs.CrashClone(cfg)
	}
	return clone
}

func checkKept(t *testing.T, s *Store, kept map[string]store.Item) {
	t.Helper()
	ctx := context.Background()
	for key, want := range kept {
		got, err := s.Get(ctx, key)
		if want.Revision == -1 { // not known
			if err != nil {
				delete(kept, key)
			} else {
				kept[key] = got
			}
			continue
		}
		if err != nil || string(got.Value) != string(want.Value) || got.Revision != want.Revision {
			t.Fatalf("%s was acknowledged at revision %d and is now %+v, %v", key, want.Revision, got, err)
		}
	}
	// What is there agrees with the log.
	var expect int64
	if item, err := s.Get(ctx, "/marker"); err == nil {
		expect = item.Revision
	}
	marker, err := s.Apply(ctx, store.Write{Key: "/marker", Value: []byte("x"), Expect: expect})
	if err != nil {
		t.Fatal(err)
	}
	page, err := s.List(ctx, store.Range{Prefix: "/"})
	if err != nil {
		t.Fatal(err)
	}
	now := map[string]string{}
	cctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = s.Watch(cctx, "/", 1, nil, func(events []store.Event) {
		for _, e := range events {
			now[e.Key] = string(e.Value)
			if e.Deleted {
				delete(now, e.Key)
			}
			if e.Revision == marker {
				cancel()
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range page.Items {
		if v, ok := now[item.Key]; !ok || v != string(item.Value) {
			t.Errorf("the log says %s=%q, the store %q", item.Key, v, item.Value)
		}
	}
	if len(now) != len(page.Items) {
		t.Errorf("the log has %d keys, the store %d", len(now), len(page.Items))
	}
}

// TestRevisionAfterCrash shows what clients see of revisions that were lost.
func TestRevisionAfterCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, Config{Dir: "/store", FS: fs})
	ctx := context.Background()
	apply := func(w store.Write) int64 {
		t.Helper()
		revision, err := s.Apply(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	durable := apply(store.Write{Key: "/a", Value: []byte("1")})
	lost := apply(store.Write{Key: "/lazy", Value: []byte("1"), Lazy: true})
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = mustOpen(t, Config{Dir: "/store", FS: crashed})
	defer s.Close()
	if s.Revision() <= lost {
		t.Errorf("the store is at revision %d, and %d was handed out", s.Revision(), lost)
	}
	if err := s.Watch(ctx, "/", lost, nil, nil); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("Watch after a lost revision: %v", err)
	}
	if _, err := s.List(ctx, store.Range{Prefix: "/", Revision: lost}); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("List at a lost revision: %v", err)
	}
	next := apply(store.Write{Key: "/b", Value: []byte("1")})
	wctx, cancel := context.WithCancel(ctx)
	err := s.Watch(wctx, "/", durable, nil, func(events []store.Event) {
		if len(events) != 1 || events[0].Revision != next {
			t.Errorf("events after %d: %+v", durable, events)
		}
		cancel()
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLazyRevisionsAreReserved loses power when nothing but lazy writes were
// made, more of them than are reserved at once.
func TestLazyRevisionsAreReserved(t *testing.T) {
	for _, writes := range []int{1, reserveAhead, 2*reserveAhead + 1} {
		fs := vfs.NewCrashableMem()
		s := mustOpen(t, Config{Dir: "/store", FS: fs, HistoryKept: -1})
		var last int64
		for n := range writes {
			revision, err := s.Apply(context.Background(), store.Write{Key: fmt.Sprint("/", n), Value: []byte("x"), Lazy: true})
			if err != nil {
				t.Fatal(err)
			}
			last = revision
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, Config{Dir: "/store", FS: crashed})
		if s.Revision() < last {
			t.Errorf("after %d writes: the store is at revision %d, and %d was handed out", writes, s.Revision(), last)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashAtBirth cuts the creation of a store short at every sync.
func TestCrashAtBirth(t *testing.T) {
	for step := range 40 {
		fs := vfs.NewCrashableMem()
		hook := &hookFS{FS: fs, at: step}
		var clone *vfs.MemFS
		hook.do = func() {
			clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(step), 3))})
		}
		s := mustOpen(t, Config{Dir: "/store", FS: hook})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if clone == nil {
			return
		}
		s = mustOpen(t, Config{Dir: "/store", FS: clone})
		if _, err := s.Apply(context.Background(), store.Write{Key: "/a", Value: []byte("1")}); err != nil {
			t.Errorf("step %d: %v", step, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("step %d: %v", step, err)
		}
	}
}

// hookFS does something at one of its operations.
type hookFS struct {
	vfs.FS
	mu    sync.Mutex
	n, at int
	do    func()
}

func (h *hookFS) step() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n++; h.n == h.at+1 {
		h.do()
	}
}

func (h *hookFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	h.step()
	return h.FS.Create(name, c)
}

func (h *hookFS) OpenDir(name string) (vfs.File, error) {
	h.step()
	return h.FS.OpenDir(name)
}

func (h *hookFS) Remove(name string) error {
	h.step()
	return h.FS.Remove(name)
}
