// Package cache is the watch cache: the newest state of every object, in
// memory, and the recent events that led to it.
//
// Each resource is an ordered tree of entries and a window of events. A
// snapshot of the tree costs nothing and never changes. An entry holds the one
// decoded object that everyone in the process shares, and its encodings, each
// made at most once. A watcher reads the window at its own pace; one that falls
// out of it must start anew.
//
// Invariants: entries and their objects are read-only. A snapshot at revision R
// holds every write up to R and none after. A watcher sees each write after its
// start exactly once, in order.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"clipper/internal/scheme"
	"clipper/internal/store"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
)

// root is what all keys of the API start with.
const root = "/registry/"

// freshWithin bounds how long a reader waits for a revision, as upstream does.
const freshWithin = 3 * time.Second

// Config is what a Cache is made of.
type Config struct {
	Store store.Store
	// Resources to keep; rows that are not their own Stored are skipped.
	Resources []*scheme.Resource
	// Indexed names, for resources by name, one field that most watchers of the
	// resource select by ("pods": "spec.nodeName").
	Indexed map[schema.GroupResource]string
	Clock   clock.Clock
	Logger  *slog.Logger
}

// Cache holds all resources of a store.
type Cache struct {
	store   store.Store
	clock   clock.Clock
	began   time.Time
	log     *slog.Logger
	byRow   map[*scheme.Resource]*Resource
	byStore map[string]*Resource // by prefix below root
	byName  map[schema.GroupResource]*Resource

	revision atomic.Int64
	ready    chan struct{}
	readied  sync.Once

	waitMu  sync.Mutex
	waiters map[*waiter]struct{}

	wakes []chan struct{} // the sink's own, reused
	turn  uint64          // the sink's own: how often it was given events
	full  chan struct{}   // says that there is something to trim
}

type waiter struct {
	revision int64
	done     chan struct{}
}

// New returns an empty cache; Run fills it.
func New(c Config) *Cache {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	k := &Cache{
		store: c.Store, clock: c.Clock, began: c.Clock.Now(), log: c.Logger,
		byRow:   make(map[*scheme.Resource]*Resource, len(c.Resources)),
		byStore: make(map[string]*Resource, len(c.Resources)),
		byName:  make(map[schema.GroupResource]*Resource, len(c.Resources)),
		ready:   make(chan struct{}),
		waiters: map[*waiter]struct{}{},
		full:    make(chan struct{}, 1),
	}
	for _, row := range c.Resources {
		if row.Stored != row || row.Prefix == "" {
			continue
		}
		r := newResource(k, row, c.Indexed[row.GroupResource()])
		k.byRow[row], k.byStore[row.Prefix], k.byName[row.GroupResource()] = r, r, r
	}
	return k
}

// Resource returns the cached form of a row, or nil if the row is not stored.
// All versions of a kind share one.
func (c *Cache) Resource(row *scheme.Resource) *Resource { return c.byRow[row.Stored] }

// Revision returns the newest revision that the cache holds wholly.
func (c *Cache) Revision() int64 { return c.revision.Load() }

// Run loads the store and follows it until ctx ends. When the store can no
// longer tell what happened since, every watcher is ended and all is loaded anew.
func (c *Cache) Run(ctx context.Context) error {
	var trimming sync.WaitGroup
	defer trimming.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	trimming.Go(func() { c.trim(ctx) })
	for {
		revision, err := c.load(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("load the store: %w", err)
		}
		started := func() { c.readied.Do(func() { close(c.ready) }) }
		err = c.store.Watch(ctx, root, revision, started, c.sink)
		switch {
		case ctx.Err() != nil:
			c.expireAll()
			return nil
		case errors.Is(err, store.ErrCompacted):
			c.log.Warn("store compacted what the cache had not read; loading again")
		default:
			c.expireAll()
			return fmt.Errorf("watch the store: %w", err)
		}
	}
}

func (c *Cache) trimLater() {
	select {
	case c.full <- struct{}{}:
	default:
	}
}

// trim gives back, a while after a burst of writes, the memory of its events.
// It sleeps until there is a burst.
func (c *Cache) trim(ctx context.Context) {
	for {
		select {
		case <-c.full:
		case <-ctx.Done():
			return
		}
		t := c.clock.NewTimer(maxAge)
		select {
		case now := <-t.C():
			more := false
			for _, r := range c.byRow {
				more = r.trim(now) || more
			}
			if more {
				c.trimLater()
			}
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// Ready returns once the cache follows the store.
func (c *Cache) Ready(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WaitFresh returns once the cache holds all that the store has acknowledged,
// so that a read of the cache is as good as a read of the store.
func (c *Cache) WaitFresh(ctx context.Context) error {
	return c.WaitFor(ctx, c.store.Revision())
}

// WaitFor returns once the cache holds the revision, or after three seconds
// with upstream's "Too large resource version".
func (c *Cache) WaitFor(ctx context.Context, revision int64) error {
	_, err := c.waitFor(ctx, revision)
	return err
}

func (c *Cache) waitFor(ctx context.Context, revision int64) (time.Duration, error) {
	if c.revision.Load() >= revision {
		return 0, nil
	}
	began := c.clock.Now()
	err := c.wait(ctx, revision)
	return c.clock.Since(began), err
}

func (c *Cache) wait(ctx context.Context, revision int64) error {
	w := &waiter{revision, make(chan struct{})}
	c.waitMu.Lock()
	if c.revision.Load() >= revision {
		c.waitMu.Unlock()
		return nil
	}
	c.waiters[w] = struct{}{}
	c.waitMu.Unlock()
	defer func() {
		c.waitMu.Lock()
		delete(c.waiters, w)
		c.waitMu.Unlock()
	}()
	t := c.clock.NewTimer(freshWithin)
	defer t.Stop()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return apierrors.NewTimeoutError(ctx.Err().Error(), 0)
	case <-t.C():
		return TooLarge(revision, c.revision.Load())
	}
}

// reached publishes a revision and wakes who waits for it.
func (c *Cache) reached(revision int64) {
	c.revision.Store(revision)
	c.waitMu.Lock()
	for w := range c.waiters {
		if w.revision <= revision {
			close(w.done)
			delete(c.waiters, w)
		}
	}
	c.waitMu.Unlock()
}

// page is how many items load reads at once.
const page = 1000

func (c *Cache) load(ctx context.Context) (int64, error) {
	fresh := make(map[*Resource][]*Entry, len(c.byRow))
	rng := store.Range{Prefix: root, Limit: page}
	for {
		p, err := c.store.List(ctx, rng)
		if err != nil {
			return 0, err
		}
		rng.Revision = p.Revision
		for i := range p.Items {
			it := &p.Items[i]
			r := c.resourceOf(it.Key)
			if r == nil {
				continue
			}
			e, err := r.entry(it)
			if err != nil {
				c.log.Error("stored object cannot be read", "key", it.Key, "err", err)
				r.mu.Lock()
				r.unreadable++
				r.mu.Unlock()
				continue
			}
			if n := len(fresh[r]); n > 0 {
				share(fresh[r][n-1], e)
			}
			fresh[r] = append(fresh[r], e)
		}
		if !p.More || len(p.Items) == 0 {
			break
		}
		rng.After = p.Items[len(p.Items)-1].Key
	}
	for _, r := range c.byRow {
		r.reset(fresh[r], rng.Revision)
	}
	c.reached(rng.Revision)
	return rng.Revision, nil
}

// resourceOf finds whose key this is: prefixes have one or two segments.
func (c *Cache) resourceOf(key string) *Resource {
	rest, ok := strings.CutPrefix(key, root)
	if !ok {
		return nil
	}
	one := strings.IndexByte(rest, '/')
	if one < 0 {
		return nil
	}
	if two := strings.IndexByte(rest[one+1:], '/'); two >= 0 {
		if r := c.byStore[rest[:one+1+two]]; r != nil {
			return r
		}
	}
	return c.byStore[rest[:one]]
}

// sink applies a batch of writes; the store calls it before it acknowledges them.
func (c *Cache) sink(events []store.Event) {
	if len(events) == 0 {
		return
	}
	c.turn++
	var held *Resource
	for i := range events {
		ev := &events[i]
		r := c.resourceOf(ev.Key)
		if r == nil {
			continue
		}
		if held != r {
			if held != nil {
				held.mu.Unlock()
			}
			r.mu.Lock()
			held = r
		}
		if err := r.apply(ev); err != nil {
			c.log.Error("stored object cannot be read", "key", ev.Key, "err", err)
			r.unreadable++
		}
	}
	if held != nil {
		held.mu.Unlock()
	}
	c.reached(events[len(events)-1].Revision)
	// Only now: a watcher that wakes finds the whole batch.
	for i, w := range c.wakes {
		close(w)
		c.wakes[i] = nil
	}
	c.wakes = c.wakes[:0]
}

func (c *Cache) expireAll() {
	for _, r := range c.byRow {
		r.expire()
	}
}
