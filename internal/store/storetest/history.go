package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"clipper/internal/store"
)

// A history's model is one key: its revision and value.
type keyState struct {
	revision int64
	value    string
}

type call struct {
	key    string
	write  bool
	expect int64
	value  string // empty deletes
}

type answer struct {
	err      error
	revision int64
	value    string
}

func model() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byKey := map[string][]porcupine.Operation{}
			for _, o := range history {
				k := o.Input.(call).key
				byKey[k] = append(byKey[k], o)
			}
			var parts [][]porcupine.Operation
			for _, p := range byKey {
				parts = append(parts, p)
			}
			return parts
		},
		Init: func() any { return keyState{} },
		Step: func(state, input, output any) (bool, any) {
			st, in, out := state.(keyState), input.(call), output.(answer)
			if !in.write {
				if errors.Is(out.err, store.ErrNotFound) {
					return st.revision == 0, st
				}
				return out.err == nil && st == keyState{out.revision, out.value}, st
			}
			if errors.Is(out.err, store.ErrConflict) {
				return st.revision != in.expect || st.revision == 0 && in.value == "", st
			}
			if out.err != nil || st.revision != in.expect || out.revision <= st.revision {
				return false, st
			}
			if in.value == "" {
				return true, keyState{}
			}
			return true, keyState{out.revision, in.value}
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func testLinearizable(t *testing.T, b Backend) {
	s := open(t, b)
	ctx := context.Background()
	begin := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	for client := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(client), 2))
			known := map[string]int64{}
			for n := range 150 {
				in := call{key: fmt.Sprintf("/%d", r.IntN(2)), write: r.IntN(3) > 0}
				var out answer
				from := time.Since(begin)
				if in.write {
					in.expect = known[in.key]
					w := store.Write{Key: in.key, Expect: in.expect, Lazy: r.IntN(3) == 0}
					if r.IntN(4) > 0 {
						in.value = fmt.Sprintf("%d.%d", client, n)
						w.Value = []byte(in.value)
					}
					out.revision, out.err = s.Apply(ctx, w)
					if out.err == nil {
						known[in.key] = out.revision
						if w.Value == nil {
							known[in.key] = 0
						}
					}
				} else {
					item, err := s.Get(ctx, in.key)
					out = answer{err, item.Revision, string(item.Value)}
					known[in.key] = item.Revision
				}
				to := time.Since(begin)
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Call: int64(from), Output: out, Return: int64(to)})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got := porcupine.CheckOperationsTimeout(model(), history, patience); got != porcupine.Ok {
		t.Errorf("the history is not linearizable: %s", got)
	}
}

// testModel makes random histories and compares all that can be read, at every
// revision, with a model that keeps everything.
func testModel(t *testing.T, b Backend) {
	place := open(t, b)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		// One store serves all histories, each under a prefix of its own.
		n++
		m := &machine{s: place, prefix: fmt.Sprintf("/%d/", n), begin: place.Revision()}
		m.states = []map[string]store.Item{{}}
		rt.Repeat(map[string]func(*rapid.T){
			"write":  m.write,
			"delete": m.remove,
			"list":   m.list,
			"get":    m.get,
		})
		w := watch(t, place, m.prefix, m.begin)
		defer w.stop(t)
		if len(m.events) > 0 {
			if diff := cmp.Diff(m.events, briefEvents(w.until(t, place.Revision()))); diff != "" {
				rt.Fatal(diff)
			}
		}
	})
}

type machine struct {
	s      store.Store
	prefix string
	begin  int64
	states []map[string]store.Item // by revision, from begin on
	events []string
}

func (m *machine) now() map[string]store.Item { return m.states[len(m.states)-1] }

func (m *machine) key(t *rapid.T) string {
	return m.prefix + rapid.SampledFrom([]string{"a", "b", "a/a", "a/b", "ab", "b/a"}).Draw(t, "key")
}

// step makes a write that expects the newest revision, or some other one.
func (m *machine) step(t *rapid.T, w store.Write) {
	old, exists := m.now()[w.Key]
	w.Expect = old.Revision
	w.Lazy = rapid.Bool().Draw(t, "lazy")
	if rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
		w.Expect = rapid.Int64Range(0, m.s.Revision()+1).Draw(t, "expect")
	}
	revision, err := m.s.Apply(context.Background(), w)
	if w.Expect != old.Revision || !exists && w.Value == nil {
		if !errors.Is(err, store.ErrConflict) {
			t.Fatalf("Apply %s: %v, want a conflict", w.Key, err)
		}
		return
	}
	if want := m.begin + int64(len(m.states)); err != nil || revision != want {
		t.Fatalf("Apply %s: revision %d, %v; want %d", w.Key, revision, err, want)
	}
	next := map[string]store.Item{}
	for k, v := range m.now() {
		next[k] = v
	}
	item := store.Item{Key: w.Key, Value: w.Value, CreateRevision: old.CreateRevision, Revision: revision}
	if !exists {
		item.CreateRevision = revision
	}
	ev := store.Event{Item: item, Deleted: w.Value == nil}
	if ev.Deleted {
		delete(next, w.Key)
	} else {
		next[w.Key] = item
	}
	m.states = append(m.states, next)
	m.events = append(m.events, briefEvent(ev))
}

func (m *machine) write(t *rapid.T) {
	m.step(t, store.Write{Key: m.key(t), Value: rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value")})
}

func (m *machine) remove(t *rapid.T) { m.step(t, store.Write{Key: m.key(t)}) }

func (m *machine) get(t *rapid.T) {
	key := m.key(t)
	item, err := m.s.Get(context.Background(), key)
	want, ok := m.now()[key]
	if ok && (err != nil || brief(item) != brief(want)) || !ok && !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Get %s: %s, %v; want %s", key, brief(item), err, brief(want))
	}
}

func (m *machine) list(t *rapid.T) {
	at := rapid.IntRange(0, len(m.states)-1).Draw(t, "at")
	r := store.Range{
		Prefix:   m.prefix + rapid.SampledFrom([]string{"", "a", "a/"}).Draw(t, "prefix"),
		Revision: m.begin + int64(at),
		Limit:    rapid.IntRange(0, 3).Draw(t, "limit"),
	}
	if rapid.Bool().Draw(t, "after?") {
		r.After = m.key(t)
	}
	page, err := m.s.List(context.Background(), r)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	var keys []string
	for k := range m.states[at] {
		if strings.HasPrefix(k, r.Prefix) && k > r.After {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	rest := 0
	if r.Limit > 0 && len(keys) > r.Limit {
		rest = len(keys) - r.Limit
		keys = keys[:r.Limit]
	}
	want := []string{}
	for _, k := range keys {
		want = append(want, brief(m.states[at][k]))
	}
	if diff := cmp.Diff(want, briefs(page.Items)); diff != "" {
		t.Fatalf("List %+v: %s", r, diff)
	}
	if page.Remaining != int64(rest) || page.More != (rest > 0) {
		t.Fatalf("List %+v: more %t, remaining %d, want %d", r, page.More, page.Remaining, rest)
	}
}
