package cache

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"clipper/internal/measure"
	"clipper/internal/scheme"
	"clipper/internal/store"

	"github.com/google/btree"
	"k8s.io/apimachinery/pkg/watch"
)

// degree of the trees: small nodes, since a write after a snapshot copies the
// nodes on its path.
const degree = 16

// item is a slot of a tree; the key stands beside the entry so that a search
// touches no entries.
type item struct {
	key   string
	entry *Entry
}

func less(a, b item) bool { return a.key < b.key }

type tree = btree.BTreeG[item]

// Resource is the state and the recent history of one row of the table.
type Resource struct {
	row     *scheme.Resource
	cache   *Cache
	prefix  string // of the store's keys
	indexed string

	mu    sync.RWMutex
	tree  *tree
	index *tree // keyed by index value, NUL, key; nil when nothing is indexed
	all   *feed
	feeds map[string]*feed // narrower feeds that have watchers
	// epoch counts loads; watchers of an earlier one have lost their place.
	epoch int
	// last is the revision of the newest event, low the newest revision that
	// is no longer (or was never) in the window.
	last, low int64

	snap atomic.Pointer[Snapshot]
	kept []keptSnapshot

	counts
}

func newResource(c *Cache, row *scheme.Resource, indexed string) *Resource {
	r := &Resource{
		row: row, cache: c, prefix: row.Key("", ""), indexed: indexed,
		all: &feed{}, feeds: map[string]*feed{},
	}
	r.waits = measure.Seconds(waitBounds)
	r.plant()
	return r
}

func (r *Resource) plant() {
	r.tree = btree.NewG(degree, less)
	if r.indexed != "" {
		r.index = btree.NewG(degree, less)
	}
}

// Row returns the stored row of the table.
func (r *Resource) Row() *scheme.Resource { return r.row }

// Get returns the newest state of an object by its key, or nil.
func (r *Resource) Get(key string) *Entry {
	r.mu.RLock()
	it, _ := r.tree.Get(item{key: key})
	r.mu.RUnlock()
	return it.entry
}

// Len returns how many objects there are.
func (r *Resource) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.tree.Len()
}

// Key returns an Entry's key.
func Key(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// value returns what an entry is indexed by.
func (r *Resource) value(e *Entry) string { return r.row.Fields(e.Object).Get(r.indexed) }

func (r *Resource) indexKey(e *Entry) string { return r.value(e) + "\x00" + e.Key }

// reset replaces the whole state; watchers are ended.
func (r *Resource) reset(entries []*Entry, revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plant()
	r.loads++
	for _, n := range []*atomic.Uint64{&r.pastRead, &r.pastSeen, &r.pastReturned} {
		n.Add(uint64(len(entries)))
	}
	r.past.Add(1)
	r.bytes = 0
	for _, e := range entries {
		r.bytes += int64(e.Size)
		r.tree.ReplaceOrInsert(item{e.Key, e})
		if r.index != nil {
			r.index.ReplaceOrInsert(item{r.indexKey(e), e})
		}
	}
	r.snap.Store(nil)
	r.last, r.low = revision, revision
	r.endWatchers()
}

func (r *Resource) expire() {
	r.mu.Lock()
	r.endWatchers()
	r.mu.Unlock()
}

func (r *Resource) endWatchers() {
	r.epoch++
	for _, f := range r.feeds {
		f.end()
	}
	r.all.end()
	r.all, r.feeds = &feed{}, map[string]*feed{}
}

// apply makes one write part of the state; mu is held.
func (r *Resource) apply(se *store.Event) error {
	r.received++
	if se.Revision <= r.last {
		return nil // the load saw it already
	}
	key := strings.TrimPrefix(se.Key, r.prefix)
	old, _ := r.tree.Get(item{key: key})
	ev := &Event{prev: old.entry}
	switch {
	case se.Deleted:
		if old.entry == nil {
			return nil
		}
		ev.Type = watch.Deleted
		if se.Object == nil {
			ev.entry = old.entry.at(se.Revision)
		} else {
			it := se.Item
			it.Value = nil
			e, err := r.entry(&it)
			if err != nil {
				return err
			}
			e.Size = old.entry.Size
			ev.entry = e
		}
		r.tree.Delete(old)
		r.bytes -= int64(old.entry.Size)
		if r.index != nil {
			r.index.Delete(item{key: r.indexKey(old.entry)})
		}
	default:
		e, err := r.entry(&se.Item)
		if err != nil {
			return err
		}
		ev.Type, ev.entry = watch.Modified, e
		r.bytes += int64(e.Size)
		like := old.entry
		if like == nil {
			ev.Type = watch.Added
			like = r.beside(key)
		} else {
			r.bytes -= int64(like.Size)
		}
		share(like, e)
		r.tree.ReplaceOrInsert(item{e.Key, e})
		if r.index != nil {
			key := r.indexKey(e)
			if old.entry != nil {
				if was := r.indexKey(old.entry); was != key {
					r.index.Delete(item{key: was})
				}
			}
			r.index.ReplaceOrInsert(item{key, e})
		}
	}
	r.last = se.Revision
	r.snap.Store(nil)
	r.publish(ev)
	return nil
}

// beside returns the last entry before a key, if there is one: what is named
// alike is often made alike. mu is held.
func (r *Resource) beside(key string) (e *Entry) {
	r.tree.DescendLessOrEqual(item{key: key}, func(it item) bool {
		e = it.entry
		return false
	})
	return e
}

// publish appends the event to every feed it belongs to.
func (r *Resource) publish(ev *Event) {
	now := r.cache.clock.Now()
	ev.at = now.Sub(r.cache.began)
	r.dispatched++
	room := len(r.all.ring)
	if low := r.all.push(ev); low > 0 {
		r.low = low
	}
	if len(r.all.ring) > room {
		r.grown++
	}
	if r.all.next-r.all.first > minEvents {
		r.cache.trimLater()
	}
	r.wake(r.all, now)
	if len(r.feeds) == 0 {
		return
	}
	r.offer(byKey+ev.entry.Key, ev, now)
	if i := strings.IndexByte(ev.entry.Key, '/'); i >= 0 {
		r.offer(byNamespace+ev.entry.Key[:i], ev, now)
	}
	if r.indexed != "" {
		value := r.value(ev.entry)
		r.offer(byIndex+value, ev, now)
		if ev.prev != nil {
			if was := r.value(ev.prev); was != value {
				r.offer(byIndex+was, ev, now)
			}
		}
	}
}

func (r *Resource) offer(name string, ev *Event, now time.Time) {
	if f := r.feeds[name]; f != nil {
		f.push(ev)
		r.wake(f, now)
	}
}

// wake tells those who wait for the feed at the batch's end, a crowd perhaps
// a little later; mu is held.
func (r *Resource) wake(f *feed, now time.Time) {
	f.wake(&r.cache.wakes)
	c := &f.crowd
	switch {
	case c.refs == 0 || c.armed:
		return
	case c.turn == r.cache.turn: // what comes together is told together
		c.upTo = f.next
		return
	}
	wait := c.wait(now)
	if wait == 0 {
		c.turn = r.cache.turn
		if bell := f.toll(now); bell != nil {
			r.cache.wakes = append(r.cache.wakes, bell)
		}
		return
	}
	c.armed = true
	t := r.cache.clock.NewTimer(wait)
	go func() {
		now := <-t.C()
		r.mu.Lock()
		bell := f.toll(now)
		r.mu.Unlock()
		if bell != nil {
			close(bell)
		}
	}()
}

// trim forgets old events and snapshots; more tells whether some are left that
// age will make superfluous.
func (r *Resource) trim(now time.Time) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := len(r.all.ring)
	before := now.Sub(r.cache.began) - maxAge
	dropped, more := r.all.trim(before)
	if len(r.all.ring) < room {
		r.shrunk++
	}
	r.low = max(r.low, dropped)
	for _, f := range r.feeds {
		_, m := f.trim(before)
		more = more || m
	}
	r.kept = slices.DeleteFunc(r.kept, func(k keptSnapshot) bool { return !now.Before(k.until) })
	return more || len(r.kept) > 0
}

// Snapshot is the state of a resource at one revision. It never changes.
type Snapshot struct {
	// Revision is the newest whose state this is.
	Revision    int64
	tree, index *tree
	last        int64
	past        bool // it was read out of the store
}

// Snapshot returns the newest state.
func (r *Resource) Snapshot() *Snapshot {
	// What the cache held wholly before the look at the tree is in the tree.
	revision := r.cache.revision.Load()
	s := r.snap.Load()
	if s == nil {
		r.mu.Lock()
		s = r.snapshotLocked()
		r.mu.Unlock()
	}
	if revision <= s.Revision {
		return s
	}
	c := *s
	c.Revision = revision
	return &c
}

func (r *Resource) snapshotLocked() *Snapshot {
	if s := r.snap.Load(); s != nil {
		return s
	}
	s := &Snapshot{Revision: r.last, last: r.last, tree: r.tree.Clone()}
	if r.index != nil {
		s.index = r.index.Clone()
	}
	r.snap.Store(s)
	return s
}

// keepFor and keepMost bound the snapshots kept for lists in pages.
const (
	keepFor  = 5 * time.Minute
	keepMost = 8
)

type keptSnapshot struct {
	*Snapshot
	until time.Time
}

// Keep holds a snapshot for At, for a while: a list in pages will come back.
func (r *Resource) Keep(s *Snapshot) {
	now := r.cache.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.kept[:0]
	for _, k := range r.kept {
		if now.Before(k.until) && k.Revision != s.Revision {
			kept = append(kept, k)
		}
	}
	if len(kept) == keepMost {
		kept = append(kept[:0], kept[1:]...)
	}
	clear(r.kept[len(kept):])
	r.kept = append(kept, keptSnapshot{s, now.Add(keepFor)})
	r.cache.trimLater()
}

// At returns the state at a past revision: from memory if it is the newest or
// kept, or else from the store. What the store has forgotten is gone for all
// resources at once, though one of them may not have changed since: clients
// learn of it by the same rule everywhere. Errors: Expired, TooLarge.
func (r *Resource) At(ctx context.Context, revision int64) (*Snapshot, error) {
	if err := r.WaitFor(ctx, revision); err != nil {
		return nil, err
	}
	if revision < r.cache.Revision() {
		// No key starts like this: only the revision is asked for.
		if _, err := r.cache.store.List(ctx, store.Range{Prefix: "\x00", Revision: revision}); err != nil {
			return nil, storeError(err, revision)
		}
	}
	r.mu.Lock()
	if revision >= r.last {
		s := *r.snapshotLocked()
		r.mu.Unlock()
		s.Revision = revision
		return &s, nil
	}
	for _, k := range r.kept {
		if k.Revision == revision {
			r.mu.Unlock()
			return k.Snapshot, nil
		}
	}
	r.mu.Unlock()
	return r.read(ctx, revision)
}

// read makes a snapshot of what the store remembers.
func (r *Resource) read(ctx context.Context, revision int64) (*Snapshot, error) {
	began := r.cache.clock.Now()
	p, err := r.cache.store.List(ctx, store.Range{Prefix: r.prefix, Revision: revision})
	r.Requests.Count(store.OpList, r.cache.clock.Since(began), err)
	if err != nil {
		return nil, storeError(err, revision)
	}
	r.past.Add(1)
	r.pastRead.Add(uint64(len(p.Items)))
	s := &Snapshot{Revision: revision, last: revision, past: true, tree: btree.NewG(degree, less)}
	if r.indexed != "" {
		s.index = btree.NewG(degree, less)
	}
	for i := range p.Items {
		e, err := r.entry(&p.Items[i])
		if err != nil {
			return nil, err
		}
		s.tree.ReplaceOrInsert(item{e.Key, e})
		if s.index != nil {
			s.index.ReplaceOrInsert(item{r.indexKey(e), e})
		}
	}
	return s, nil
}

// Get returns an object by its key, or nil.
func (s *Snapshot) Get(key string) *Entry {
	it, _ := s.tree.Get(item{key: key})
	return it.entry
}

// Len returns how many objects there are.
func (s *Snapshot) Len() int { return s.tree.Len() }

// Ascend calls f with the entries that the scope of sel covers (its namespace,
// name or index value, not its other requirements), in order of their keys,
// from the key start on, until f returns false.
func (s *Snapshot) Ascend(sel *Selection, start string, f func(*Entry) bool) {
	switch {
	case sel.name != "" && (sel.namespace != "" || !sel.namespaced):
		if e := s.Get(Key(sel.namespace, sel.name)); e != nil && e.Key >= start {
			f(e)
		}
	case sel.byIndex && s.index != nil:
		prefix := sel.index + "\x00"
		from := prefix + max(sel.prefix(), start)
		s.index.AscendGreaterOrEqual(item{key: from}, func(it item) bool {
			if !strings.HasPrefix(it.key, prefix) || !strings.HasPrefix(it.entry.Key, sel.prefix()) {
				return false
			}
			return f(it.entry)
		})
	default:
		from, last := max(sel.prefix(), start), (*Entry)(nil)
		if sel.namespace != "" {
			// Where the namespace ends is looked up: to compare each key
			// would be to wait for its memory.
			const after = string('/' + 1)
			s.tree.DescendLessOrEqual(item{key: sel.namespace + after}, func(it item) bool {
				last = it.entry
				return false
			})
			if last == nil || last.Key < from {
				return
			}
		}
		s.tree.AscendGreaterOrEqual(item{key: from}, func(it item) bool {
			return f(it.entry) && it.entry != last
		})
	}
}

// since returns the position of the first event after a revision; mu is held.
func (r *Resource) since(revision int64) uint64 {
	f := r.all
	n := int(f.next - f.first)
	i := sort.Search(n, func(i int) bool { return f.get(f.first+uint64(i)).revision() > revision })
	return f.first + uint64(i)
}
