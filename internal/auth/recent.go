package auth

import (
	"crypto/sha256"
	"sync"
)

// recent remembers what was lately found out about credentials. It holds at
// most two generations of recentMost; what is used moves to the newer one. Keys
// are digests, so that the secrets themselves are not kept.
type recent[V any] struct {
	mu       sync.Mutex
	new, old map[[sha256.Size]byte]V
}

const recentMost = 2048

func (r *recent[V]) get(key [sha256.Size]byte) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.new[key]; ok {
		return v, true
	}
	v, ok := r.old[key]
	if ok {
		r.add(key, v)
	}
	return v, ok
}

func (r *recent[V]) put(key [sha256.Size]byte, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(key, v)
}

func (r *recent[V]) add(key [sha256.Size]byte, v V) {
	if r.new == nil || len(r.new) >= recentMost {
		r.old, r.new = r.new, make(map[[sha256.Size]byte]V)
	}
	r.new[key] = v
}
