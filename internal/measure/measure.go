// Package measure is what the parts of a process count in: atomics, and sets of
// them by key. Prometheus' metrics are made of them only when somebody asks.
//
// Counting takes no lock and allocates nothing, except for the first time that
// a key of a Set is met.
package measure

import (
	"iter"
	"maps"
	"sync"
	"sync/atomic"
)

// Set holds values by key. They are looked up without a lock, made when they are
// first asked for, and never dropped: keys must be few, whatever clients do.
type Set[K comparable, V any] struct {
	mu   sync.Mutex
	held atomic.Pointer[map[K]*V]
}

// Get returns the value of a key, which is what make returns if there is none yet.
func (s *Set[K, V]) Get(key K, make func(K) *V) *V {
	if m := s.held.Load(); m != nil {
		if v := (*m)[key]; v != nil {
			return v
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := map[K]*V{}
	if m := s.held.Load(); m != nil {
		old = *m
	}
	if v := old[key]; v != nil {
		return v
	}
	m, v := maps.Clone(old), make(key)
	m[key] = v
	s.held.Store(&m)
	return v
}

// All yields what there is, in no order.
func (s *Set[K, V]) All() iter.Seq2[K, *V] {
	if m := s.held.Load(); m != nil {
		return maps.All(*m)
	}
	return func(func(K, *V) bool) {}
}
