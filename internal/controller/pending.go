package controller

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// pendingFor is after how long a write that no watch showed is given up.
const pendingFor = 5 * time.Minute

// Pending keeps what owners have written and their cache has not shown yet. An
// owner that counted on its cache meanwhile would write the same again.
type Pending struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	by    map[types.UID]*pending
}

type pending struct {
	creations int
	deletions map[types.UID]struct{}
	until     time.Time
}

// NewPending returns a Pending that holds nothing.
func NewPending(c clock.PassiveClock) *Pending {
	return &Pending{clock: c, by: map[types.UID]*pending{}}
}

// Wait returns how long the owner must at most wait for its cache; 0 is not at all.
func (p *Pending) Wait(owner types.UID) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.by[owner]
	if w == nil {
		return 0
	}
	if left := w.until.Sub(p.clock.Now()); left > 0 {
		return left
	}
	delete(p.by, owner)
	return 0
}

// Create is called before n objects are created, and with a negative n for
// those that were not, after all.
func (p *Pending) Create(owner types.UID, n int) {
	p.change(owner, true, func(w *pending) { w.creations += n })
}

// Delete is called before the object is deleted.
func (p *Pending) Delete(owner, object types.UID) {
	p.change(owner, true, func(w *pending) {
		if w.deletions == nil {
			w.deletions = map[types.UID]struct{}{}
		}
		w.deletions[object] = struct{}{}
	})
}

// Progress is how a sign of the cache changed what is pending.
type Progress uint8

const (
	// Unrelated: nothing was pending.
	Unrelated Progress = iota
	// More is pending.
	More
	// Complete: this was the last.
	Complete
)

// Created is called when the cache shows a new object of the owner.
func (p *Pending) Created(owner types.UID) Progress {
	return p.change(owner, false, func(w *pending) { w.creations-- })
}

// Deleted is called when the cache shows that the object goes or is gone, or
// when it was not deleted, after all.
func (p *Pending) Deleted(owner, object types.UID) Progress {
	return p.change(owner, false, func(w *pending) { delete(w.deletions, object) })
}

// Forget drops what is kept for an owner that is gone.
func (p *Pending) Forget(owner types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by, owner)
}

func (p *Pending) change(owner types.UID, begin bool, f func(*pending)) Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.by[owner]
	if w == nil {
		if !begin {
			return Unrelated
		}
		w = &pending{}
		p.by[owner] = w
	}
	if begin {
		w.until = p.clock.Now().Add(pendingFor)
	}
	f(w)
	if w.creations <= 0 && len(w.deletions) == 0 {
		delete(p.by, owner)
		return Complete
	}
	return More
}

// NewOf returns the controller of an object that the cache shows for the first
// time, if it is of that kind; nil otherwise.
func NewOf[T any](before, now *T, kind string) *metav1.OwnerReference {
	if before != nil || now == nil {
		return nil
	}
	o, ok := any(now).(metav1.Object)
	if !ok {
		return nil
	}
	if ref := metav1.GetControllerOfNoCopy(o); ref != nil && ref.Kind == kind {
		return ref
	}
	return nil
}

// Saw takes note of what the cache shows of a pod whose owner is of a kind.
func (p *Pending) Saw(before, now *corev1.Pod, kind string) (progress Progress) {
	if before != nil && (now == nil || now.UID != before.UID || now.DeletionTimestamp != nil && before.DeletionTimestamp == nil) {
		if ref := metav1.GetControllerOfNoCopy(before); ref != nil && ref.Kind == kind {
			progress = p.Deleted(ref.UID, before.UID)
		}
	}
	if ref := NewOf(before, now, kind); ref != nil {
		progress = p.Created(ref.UID)
		if now.DeletionTimestamp != nil {
			progress = p.Deleted(ref.UID, now.UID)
		}
	}
	return progress
}
