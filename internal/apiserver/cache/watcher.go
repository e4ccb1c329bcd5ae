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
	// selection is sel's text, of one of a crowd.
	selection string

	// backlog precedes the feed: either the state the watch started with, or
	// the events of the window that a narrower feed does not hold.
	snapshot *Snapshot
	after    string
	backlog  []*Event

	// initial is the revision of the snapshot, until InitialDone was told.
	initial int64
	own     Batch // what nobody else is told
	seen    int64
}

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
	if o.Crowd {
		w.selection = sel.text()
	}
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
		w.feed.join(w.selection)
	}
}

// Close releases the watcher's place.
func (w *Watcher) Close() {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.crowd {
		w.feed.leave(w.selection)
	}
	if w.feed.refs--; w.feed.refs == 0 && w.name != "" && w.r.feeds[w.name] == w.feed {
		delete(w.r.feeds, w.name)
	}
}

// Next returns what happened since the last call. When there is nothing more,
// it returns a channel that is closed as soon as Next is worth another call;
// without one it is at once. An error (Expired) ends the watch.
func (w *Watcher) Next() (*Batch, <-chan struct{}, error) {
	own := &w.own
	clear(own.all)
	own.all = own.all[:0]
	if w.snapshot != nil {
		// Where that ends is told by itself: what comes after is no part of it.
		w.state()
		w.r.initial.Add(uint64(len(own.all)))
		if len(own.all) > 0 || w.snapshot == nil {
			return own, nil, nil
		}
	}
	for {
		b := own
		if len(w.backlog) > 0 {
			k := min(len(w.backlog), batchEvents)
			own.all = w.sel.appendDeliveries(own.all, w.backlog[:k])
			w.r.initial.Add(uint64(len(own.all)))
			w.seen = w.backlog[k-1].revision()
			if w.backlog = w.backlog[k:]; len(w.backlog) == 0 {
				w.backlog = nil
			}
		} else {
			var bell <-chan struct{}
			var err error
			if b, bell, err = w.take(); bell != nil || err != nil {
				return nil, bell, err
			}
		}
		if len(b.all) > 0 {
			return b, nil, nil
		}
	}
}

// take returns a batch from the feed, or the bell to wait for.
func (w *Watcher) take() (*Batch, <-chan struct{}, error) {
	b, bell, err := w.taken()
	switch {
	case b == nil:
		return nil, bell, err
	case b.shared:
		b.find()
	default:
		b.all = w.sel.appendDeliveries(b.all, b.events)
		clear(b.events)
	}
	return b, nil, nil
}

// taken is take, but for what the events mean.
func (w *Watcher) taken() (*Batch, <-chan struct{}, error) {
	// What the cache holds wholly now is in the feed by the time of the lock.
	present := w.r.cache.revision.Load()
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	f := w.feed
	if w.epoch != w.r.epoch || w.pos < f.first {
		if w.epoch == w.r.epoch {
			w.r.expired++
		}
		return nil, nil, Expired(w.seen, w.r.low)
	}
	end, bell := f.next, &f.bell
	if w.crowd {
		end, bell = f.crowd.upTo, &f.crowd.bell
	}
	if w.pos >= end {
		if w.pos == f.next {
			w.seen = max(w.seen, present)
		}
		w.own = Batch{} // a quiet watcher holds no room
		if *bell == nil {
			*bell = make(chan struct{})
		}
		return nil, *bell, nil
	}
	b := (*Batch)(nil)
	if w.crowd {
		b = f.batch(w)
	}
	if b == nil {
		b = &w.own
		b.events = b.events[:0]
		b.to = f.some(w.pos, end, func(ev *Event) { b.events = append(b.events, ev) })
	}
	w.pos = b.to
	w.seen = f.get(w.pos - 1).revision()
	return b, nil, nil
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

// state makes the next part of the state the watch started with the batch.
func (w *Watcher) state() {
	buf, done := w.own.all, true
	w.snapshot.Ascend(w.sel, w.after, func(e *Entry) bool {
		if len(buf) == batchEvents {
			w.after, done = e.Key, false
			return false
		}
		if w.sel.Matches(e) {
			buf = append(buf, Delivery{Type: watch.Added, Entry: e, Stood: true})
		}
		return true
	})
	if w.own.all = buf; done {
		w.snapshot = nil
	}
}
