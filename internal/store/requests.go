package store

import (
	"errors"
	"sync/atomic"
	"time"

	"clipper/internal/measure"
)

// Operation is what a request asks of a store, named as upstream's metrics of
// etcd name it.
type Operation int

// The operations.
const (
	OpCreate Operation = iota
	OpUpdate
	OpDelete
	OpList
	operations
)

// String returns the name.
func (o Operation) String() string {
	return [operations]string{"create", "update", "delete", "list"}[o]
}

// Operation tells what a write does to its key.
func (w *Write) Operation() Operation {
	switch {
	case w.Value == nil:
		return OpDelete
	case w.Expect == 0:
		return OpCreate
	}
	return OpUpdate
}

// requestBounds are upstream's, in seconds.
var requestBounds = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}

// Requests counts the requests that one kind of objects makes of a store. The
// zero value is ready.
type Requests struct {
	took   [operations]atomic.Pointer[measure.Histogram]
	failed [operations]atomic.Uint64
}

// Count counts a request that took so long. That a key was not at the expected
// revision is an answer, and no failure.
func (r *Requests) Count(o Operation, took time.Duration, err error) {
	h := r.took[o].Load()
	for h == nil {
		r.took[o].CompareAndSwap(nil, measure.Seconds(requestBounds))
		h = r.took[o].Load()
	}
	h.Took(took)
	if err != nil && !errors.Is(err, ErrConflict) {
		r.failed[o].Add(1)
	}
}

// Each calls f with what was asked for at all: how long it took, and how often
// it failed.
func (r *Requests) Each(f func(o Operation, took *measure.Histogram, failed uint64)) {
	for o := range operations {
		if h := r.took[o].Load(); h != nil {
			f(o, h, r.failed[o].Load())
		}
	}
}
