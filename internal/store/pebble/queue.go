package pebble

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"clipper/internal/store"
)

// request is one write on its way through the committer.
type request struct {
	w        store.Write
	state    atomic.Int32
	revision int64
	err      error
	done     chan struct{}
	// expiry marks the store's own deletions: no one waits for them.
	expiry bool
}

const (
	waiting   = iota // in the queue
	taken            // by the committer
	withdrawn        // by its caller
)

// queue collects the writes that wait for the committer.
type queue struct {
	mu     sync.Mutex
	list   []*request
	spare  []*request
	closed bool
	wake   chan struct{}
	pool   sync.Pool
}

func (q *queue) init() {
	q.wake = make(chan struct{}, 1)
	q.pool.New = func() any { return &request{done: make(chan struct{}, 1)} }
}

func (q *queue) push(r *request) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return store.ErrClosed
	}
	first := len(q.list) == 0
	q.list = append(q.list, r)
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// take returns all that waits. It is valid until the next call.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.spare)
	list := q.list
	q.list, q.spare = q.spare[:0], list
	return list
}

func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	return true
}

// Apply implements store.Store. If ctx ends while the write is on its way to
// the disk, it may or may not be made.
func (s *Store) Apply(ctx context.Context, w store.Write) (int64, error) {
	if err := checkWrite(&w); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if s.disk != nil && s.disk.stalled() {
		return 0, store.ErrNoSpace
	}
	r := s.queue.pool.Get().(*request)
	r.w, r.revision, r.err = w, 0, nil
	r.state.Store(waiting)
	if err := s.queue.push(r); err != nil {
		return 0, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return 0, ctx.Err()
		}
		return 0, unknown(w.Key, ctx.Err())
	case <-s.gone:
		return 0, unknown(w.Key, store.ErrClosed)
	}
	revision, err := r.revision, r.err
	r.w = store.Write{}
	s.queue.pool.Put(r)
	return revision, err
}

func unknown(key string, err error) error {
	return fmt.Errorf("it is not known whether %s was written: %w", key, err)
}

// settle gives the request its outcome.
func (r *request) settle(revision int64, err error) {
	if r.expiry {
		return
	}
	r.revision, r.err = revision, err
	r.done <- struct{}{}
}
