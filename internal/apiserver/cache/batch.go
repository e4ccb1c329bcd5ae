package cache

import (
	"sync"

	"k8s.io/apimachinery/pkg/watch"
)

// Delivery is what a watcher is told. For DELETED, Entry is the last state
// that the watcher's selection saw, at the revision of the change.
type Delivery struct {
	Type  watch.EventType
	Entry *Entry
	// Stood tells that the object stood like this when the watch began.
	Stood bool
}

const (
	// batchEvents is how many events a watcher takes at once.
	batchEvents = 256
	// batchBytes is about how many stored bytes it takes at once.
	batchBytes = 256 << 10
)

// Batch is what a watcher is told at once. The watchers of a crowd that have
// one selection are told the same one: it is found once, and what is made of
// it for clients is made once (Shared).
type Batch struct {
	sel    *Selection
	events []*Event
	to     uint64 // the position after them
	shared bool
	left   int // how many have not been told; the resource's lock guards it

	once sync.Once
	all  []Delivery

	mu   sync.Mutex
	made []made
}

type made struct {
	by *Encoder
	of any
}

// Deliveries returns what is told, read-only. It is valid until Next is called
// again, or for good if the batch is shared. A nil batch has none.
func (b *Batch) Deliveries() []Delivery {
	if b == nil {
		return nil
	}
	return b.all
}

// IsShared tells whether other watchers are told this, too.
func (b *Batch) IsShared() bool { return b != nil && b.shared }

// Shared returns what make makes of a shared batch, which it is asked for once
// for each encoder. Errors are make's, and are not kept.
func Shared[T any](b *Batch, by *Encoder, make func([]Delivery) (T, error)) (T, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.made {
		if m.by == by {
			return m.of.(T), nil
		}
	}
	t, err := make(b.all)
	if err == nil {
		b.made = append(b.made, made{by, t})
	}
	return t, err
}

// find finds out what a shared batch's events mean to its selection.
func (b *Batch) find() {
	b.once.Do(func() {
		b.all = b.sel.appendDeliveries(nil, b.events)
		b.events = nil
	})
}

// appendDeliveries appends what events mean to the selection.
func (s *Selection) appendDeliveries(to []Delivery, events []*Event) []Delivery {
	all := s.everything()
	for _, ev := range events {
		if all {
			to = append(to, Delivery{Type: ev.Type, Entry: ev.entry})
			continue
		}
		before := ev.prev != nil && s.Matches(ev.prev)
		now := ev.Type != watch.Deleted && s.Matches(ev.entry)
		switch {
		case now && before:
			to = append(to, Delivery{Type: watch.Modified, Entry: ev.entry})
		case now:
			to = append(to, Delivery{Type: watch.Added, Entry: ev.entry})
		case before && ev.Type == watch.Deleted:
			to = append(to, Delivery{Type: watch.Deleted, Entry: ev.entry})
		case before:
			to = append(to, Delivery{Type: watch.Deleted, Entry: ev.leaving()})
		}
	}
	return to
}
