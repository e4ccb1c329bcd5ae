package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = 2 * time.Minute
)

// Loop syncs keys. A key that is added is synced soon, by one of at most
// workers goroutines; added again meanwhile, it is synced once more afterwards.
// A sync that fails is repeated after a delay that doubles from 5 ms to 2 min.
//
// Goroutines exist only while keys wait: an idle Loop holds none but Run's.
type Loop[K comparable] struct {
	name    string
	clock   clock.WithTicker
	log     *slog.Logger
	workers int
	sync    func(context.Context, K) error
	caches  []cache.DoneChecker
	own     []cache.SharedIndexInformer

	mu       sync.Mutex
	ctx      context.Context // Run's, once the caches are synced
	running  int
	idle     *sync.Cond // running became 0
	ready    fifo[ready[K]]
	work     Work
	began    []time.Time    // of each worker's sync under way, zero without one
	keys     map[K]keyState // of keys that wait or are being synced
	failures map[K]int
	delayed  delays[K]
	changed  chan struct{} // tells the timer's goroutine of an earlier deadline
	timing   bool          // whether that goroutine exists
}

// ready is a key that waits for a worker, and since when.
type ready[K comparable] struct {
	key   K
	since time.Time
}

type keyState uint8

const (
	waiting keyState = iota + 1
	syncing
	syncingAgain // added while being synced
)

// NewLoop returns a loop that calls sync for keys, up to workers at a time.
// What sync returns is logged here and retried.
func NewLoop[K comparable](name string, c Config, workers int, sync_ func(context.Context, K) error) *Loop[K] {
	l := &Loop[K]{
		name: name, clock: c.Clock, log: c.Logger,
		workers: workers, sync: sync_,
		keys: map[K]keyState{}, failures: map[K]int{},
		delayed: delays[K]{at: map[K]int{}},
		changed: make(chan struct{}, 1),
	}
	l.idle = sync.NewCond(&l.mu)
	return l
}

// Name returns the controller's name.
func (l *Loop[K]) Name() string { return l.name }

// Watch calls h for the informer's changes and makes Run wait for its cache.
// It is to be called before the informer's factory is started.
func (l *Loop[K]) Watch(informer cache.SharedIndexInformer, h cache.ResourceEventHandler) {
	r, err := informer.AddEventHandler(h)
	if err != nil {
		// Only an informer that has been stopped refuses handlers.
		panic(fmt.Sprintf("%s: watch: %v", l.name, err))
	}
	l.caches = append(l.caches, r.HasSyncedChecker())
}

// Need makes Run wait for the informer's cache.
func (l *Loop[K]) Need(informer cache.SharedIndexInformer) {
	l.caches = append(l.caches, informer.HasSyncedChecker())
}

// Own makes Run run the informer, one that is not of a factory.
func (l *Loop[K]) Own(informer cache.SharedIndexInformer) {
	l.own = append(l.own, informer)
}

// Add has the key synced soon.
func (l *Loop[K]) Add(k K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(k)
}

// AddAfter has the key synced when d has passed. Of several deadlines of one
// key the earliest holds, and it is forgotten when it is met.
func (l *Loop[K]) AddAfter(k K, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addAfter(k, d)
}

func (l *Loop[K]) add(k K) {
	l.work.Adds++
	switch l.keys[k] {
	case 0:
		l.keys[k] = waiting
		l.ready.push(ready[K]{k, l.clock.Now()})
		l.hire()
	case syncing:
		l.keys[k] = syncingAgain
	}
}

func (l *Loop[K]) addAfter(k K, d time.Duration) {
	if d <= 0 {
		l.add(k)
		return
	}
	if !l.delayed.set(k, l.clock.Now().Add(d)) || l.ctx == nil || l.ctx.Err() != nil {
		return
	}
	if !l.timing {
		l.timing = true
		l.running++
		go l.time(l.ctx)
		return
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// hire starts a worker for the key just made ready, unless enough work already.
func (l *Loop[K]) hire() {
	if l.ctx == nil || l.workers == 0 || l.ctx.Err() != nil {
		return
	}
	l.workers--
	l.running++
	go l.worker(l.ctx)
}

// Run waits for the caches and then syncs keys until ctx ends.
func (l *Loop[K]) Run(ctx context.Context) error {
	var own sync.WaitGroup
	defer own.Wait()
	for _, informer := range l.own {
		own.Go(func() { informer.RunWithContext(ctx) })
	}
	if !cache.WaitFor(ctx, "", l.caches...) {
		return nil
	}
	l.mu.Lock()
	l.ctx = ctx
	for range min(l.ready.len(), l.workers) {
		l.hire()
	}
	if l.delayed.len() > 0 {
		l.timing = true
		l.running++
		go l.time(ctx)
	}
	l.mu.Unlock()

	<-ctx.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running > 0 {
		l.idle.Wait()
	}
	return nil
}

func (l *Loop[K]) left() {
	if l.running--; l.running == 0 {
		l.idle.Broadcast()
	}
}

func (l *Loop[K]) worker(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	place := slices.IndexFunc(l.began, time.Time.IsZero)
	if place < 0 {
		place, l.began = len(l.began), append(l.began, time.Time{})
	}
	for l.ready.len() > 0 && ctx.Err() == nil {
		next := l.ready.pop()
		k, began := next.key, l.clock.Now()
		l.work.Queued.add(began.Sub(next.since))
		l.keys[k] = syncing
		l.began[place] = began
		l.mu.Unlock()
		err := l.sync(ctx, k)
		l.report(ctx, k, err)
		now := l.clock.Now()
		l.mu.Lock()
		l.work.Synced.add(now.Sub(began))

		again := l.keys[k] == syncingAgain
		delete(l.keys, k)
		if err != nil {
			n := l.failures[k]
			l.failures[k] = n + 1
			l.work.Retries++
			l.addAfter(k, min(firstRetry<<min(n, 30), lastRetry))
		} else {
			delete(l.failures, k)
		}
		if again {
			l.keys[k] = waiting
			l.ready.push(ready[K]{k, now})
		}
	}
	l.began[place] = time.Time{}
	l.workers++
	l.left()
}

func (l *Loop[K]) report(ctx context.Context, k K, err error) {
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, ErrNotYet):
	case apierrors.IsConflict(err):
		// Ordinary: the cache was behind a writer, and its event is on the way.
		l.log.Debug("sync met a newer object", "key", k, "err", err)
	default:
		l.log.Error("sync failed, will retry", "key", k, "err", err)
	}
}

// ErrNotYet is returned by a sync that is to be repeated with growing delays,
// though nothing is wrong.
var ErrNotYet = errors.New("not yet")

// time adds keys at their deadlines and ends when there are none.
func (l *Loop[K]) time(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.left()
	var t clock.Timer
	for ctx.Err() == nil {
		wait := time.Duration(0)
		for l.delayed.len() > 0 {
			if wait = l.delayed.next().Sub(l.clock.Now()); wait > 0 {
				break
			}
			l.add(l.delayed.pop())
		}
		if l.delayed.len() == 0 {
			l.timing = false
			break
		}
		if t == nil {
			t = l.clock.NewTimer(wait)
		} else {
			t.Reset(wait)
		}
		l.mu.Unlock()
		select {
		case <-t.C():
		case <-l.changed:
		case <-ctx.Done():
		}
		l.mu.Lock()
	}
	if t != nil {
		t.Stop()
	}
}

// fifo is a queue whose memory is given back when it is empty.
type fifo[K any] struct {
	items []K
	head  int
}

func (q *fifo[K]) len() int { return len(q.items) - q.head }
func (q *fifo[K]) push(k K) { q.items = append(q.items, k) }
func (q *fifo[K]) pop() (k K) {
	var zero K
	k, q.items[q.head] = q.items[q.head], zero
	q.head++
	if q.head == len(q.items) {
		*q = fifo[K]{}
	}
	return k
}

// Context ends when Run's does; it is that of work a sync leaves behind. It is
// nil before the first sync.
func (l *Loop[K]) Context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx
}
