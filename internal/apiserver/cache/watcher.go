package cache

import (
	"context"

	"k8s.io/apimachinery/pkg/watch"
)

// WatchOptions say where a watch starts.
type WatchOptions struct {
	// Revision after which to start; 0 is the present.
	Revision int64
	// Initial sends what exists first, as ADDED, and starts from there;
	// Revision is then the least that must be included.
	Initial bool
	// Crowd lets the watcher be told a few milliseconds late where it is one of
	// many, and events come quickly.
	Crowd bool
}

// Delivery is what a watcher is told. For DELETED, Entry is the last state
// that the watcher's selection saw, at the revision of the change.
type Delivery struct {
	Type  watch.EventType
	Entry *Entry
	// Stood tells that the object stood like this when the watch began.
	Stood bool
}

// Watcher reads the events of a selection at its own pace. One goroutine uses
// it at a time; Close must be called.
type Watcher struct {
	r     *Resource
	sel   *Selection
	name  string
	feed  *feed
	pos   uint64
	epoch int
	crowd bool

	// backlog precedes the feed: either the state the watch started with, or
	// the events of the window that a narrower feed does not hold.
	snapshot *Snapshot
	after    string
	backlog  []*Event

	// initial is the revision of the snapshot, until InitialDone was told.
	initial int64
	batch   []*Event
	seen    int64
}

// batchEvents is how many events a watcher takes at once.
const batchEvents = 256

// Watch starts a watch. Errors: Expired, TooLarge.
func (r *Resource) Watch(ctx context.Context, sel *Selection, o WatchOptions) (*Watcher, error) {
	if o.Revision > 0 {
		if err := r.cache.WaitFor(ctx, o.Revision); err != nil {
			return nil, err
		}
	} else if err := r.cache.WaitFresh(ctx); err != nil {
		return nil, err
	}
	present := r.cache.revision.Load()
	w := &Watcher{r: r, sel: sel, name: sel.feed(), crowd: o.Crowd}
	r.mu.Lock()
	defer r.mu.Unlock()
	w.epoch, w.feed = r.epoch, r.all
	if !o.Initial && o.Revision > 0 && o.Revision < r.low {
		return nil, Expired(o.Revision, r.low)
	}
	start := r.all.next
	if o.Initial {
		w.snapshot = r.snapshotLocked()
		w.initial = max(present, w.snapshot.Revision)
		w.seen = w.initial
	} else if o.Revision > 0 {
		start = r.since(o.Revision)
		w.seen = o.Revision
	} else {
		w.seen = max(present, r.last)
	}
	w.pos = start
	if w.name == "" {
		w.join()
		return w, nil
	}
	for p := start; p < r.all.next; p++ {
		w.backlog = append(w.backlog, r.all.get(p))
	}
	if w.feed = r.feeds[w.name]; w.feed == nil {
		w.feed = &feed{}
		r.feeds[w.name] = w.feed
	}
	w.join()
	w.pos = w.feed.next
	return w, nil
}

func (w *Watcher) join() {
	w.feed.refs++
	if w.crowd {
		w.feed.crowd.refs++
	}
}

// Close releases the watcher's place.
func (w *Watcher) Close() {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.crowd {
		w.feed.crowd.refs--
	}
	if w.feed.refs--; w.feed.refs == 0 && w.name != "" && w.r.feeds[w.name] == w.feed {
		delete(w.r.feeds, w.name)
	}
}

// Next appends to buf what happened since the last call. When there is nothing
// more, it returns a channel that is closed as soon as Next is worth another
// call; without one it is at once. An error (Expired) ends the watch.
func (w *Watcher) Next(buf []Delivery) ([]Delivery, <-chan struct{}, error) {
	n := len(buf)
	if w.snapshot != nil {
		// Where that ends is told by itself: what comes after is no part of it.
		buf = w.state(buf)
		w.r.initial.Add(uint64(len(buf) - n))
		if len(buf) > n || w.snapshot == nil {
			return buf, nil, nil
		}
	}
	for {
		if len(w.backlog) > 0 {
			k := min(len(w.backlog), batchEvents)
			buf = w.filter(buf, w.backlog[:k])
			w.r.initial.Add(uint64(len(buf) - n))
			if w.backlog = w.backlog[k:]; len(w.backlog) == 0 {
				w.backlog = nil
			}
		} else {
			bell, err := w.take()
			if bell != nil || err != nil {
				return buf, bell, err
			}
			buf = w.filter(buf, w.batch)
			clear(w.batch)
		}
		if len(buf) > n {
			return buf, nil, nil
		}
	}
}

// take fills batch from the feed, or returns the bell to wait for.
func (w *Watcher) take() (<-chan struct{}, error) {
	w.batch = w.batch[:0]
	// What the cache holds wholly now is in the feed by the time of the lock.
	present := w.r.cache.revision.Load()
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	f := w.feed
	if w.epoch != w.r.epoch || w.pos < f.first {
		if w.epoch == w.r.epoch {
			w.r.expired++
		}
		return nil, Expired(w.seen, w.r.low)
	}
	if w.pos == f.next {
		w.seen = max(w.seen, present)
		w.batch = nil // a quiet watcher holds no room
		bell := &f.bell
		if w.crowd {
			bell = &f.crowd.bell
		}
		if *bell == nil {
			*bell = make(chan struct{})
		}
		return *bell, nil
	}
	for end := min(f.next, w.pos+batchEvents); w.pos < end; w.pos++ {
		w.batch = append(w.batch, f.get(w.pos))
	}
	return nil, nil
}

// Progress returns the newest revision up to which the watcher has been told
// everything, for bookmarks. It is right after a Next that had nothing to tell.
func (w *Watcher) Progress() int64 { return w.seen }

// InitialDone returns, once, the revision of the state the watch started with,
// after the last of its objects was told; 0 otherwise.
func (w *Watcher) InitialDone() int64 {
	if w.snapshot != nil || w.initial == 0 {
		return 0
	}
	r := w.initial
	w.initial = 0
	return r
}

// state appends the next part of the state the watch started with.
func (w *Watcher) state(buf []Delivery) []Delivery {
	n, done := len(buf), true
	w.snapshot.Ascend(w.sel, w.after, func(e *Entry) bool {
		if len(buf)-n == batchEvents {
			w.after, done = e.Key, false
			return false
		}
		if w.sel.Matches(e) {
			buf = append(buf, Delivery{Type: watch.Added, Entry: e, Stood: true})
		}
		return true
	})
	if done {
		w.snapshot = nil
	}
	return buf
}

// filter appends what events mean to the selection.
func (w *Watcher) filter(buf []Delivery, events []*Event) []Delivery {
	all := w.sel.everything()
	for _, ev := range events {
		w.seen = ev.revision()
		if all {
			buf = append(buf, Delivery{Type: ev.Type, Entry: ev.entry})
			continue
		}
		before := ev.prev != nil && w.sel.Matches(ev.prev)
		now := ev.Type != watch.Deleted && w.sel.Matches(ev.entry)
		switch {
		case now && before:
			buf = append(buf, Delivery{Type: watch.Modified, Entry: ev.entry})
		case now:
			buf = append(buf, Delivery{Type: watch.Added, Entry: ev.entry})
		case before && ev.Type == watch.Deleted:
			buf = append(buf, Delivery{Type: watch.Deleted, Entry: ev.entry})
		case before:
			buf = append(buf, Delivery{Type: watch.Deleted, Entry: ev.leaving()})
		}
	}
	return buf
}
