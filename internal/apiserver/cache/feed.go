package cache

import (
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// The window of a feed: at least minEvents; beyond that, nothing older than
// maxAge, and not more than maxEvents or maxBytes of stored bytes.
const (
	minEvents = 128
	maxEvents = 16384
	maxBytes  = 4 << 20
	maxAge    = time.Minute
)

// Names of narrower feeds: those of one object, one namespace, one value of
// the indexed field.
const (
	byKey       = "k/"
	byNamespace = "n/"
	byIndex     = "i/"
)

// Event is one write of a resource. There are many of them: it is kept small.
type Event struct {
	Type        watch.EventType
	entry, prev *Entry
	at          time.Duration // since the cache began
	left        atomic.Pointer[Entry]
}

func (ev *Event) revision() int64 { return ev.entry.Revision }

// leaving is the last state that a selection saw of an object that left it. All
// who ask are told the same one, for the sake of its encodings.
func (ev *Event) leaving() *Entry {
	if ev.left.Load() == nil {
		ev.left.CompareAndSwap(nil, ev.prev.at(ev.revision()))
	}
	return ev.left.Load()
}

// feed is a window of events and those who wait for the next one. The lock of
// the resource guards it.
type feed struct {
	ring  []*Event // its length is a power of two
	first uint64   // position of the oldest event
	next  uint64   // position of the next event
	bytes int
	refs  int           // watchers
	bell  chan struct{} // of those who are told at once
	crowd crowd
}

// crowd are the watchers of a feed that can wait. An event costs a wake-up for
// each of them, so the more there are, the more events they are told together:
// what came until the last ring.
type crowd struct {
	refs  int
	bell  chan struct{}
	rang  time.Time
	turn  uint64 // of the cache, in which it rang at once
	armed bool   // a timer rings it

	upTo   uint64            // what comes after is told with the next ring
	rings  [ringsKept]uint64 // upTo before the last rings, the oldest first
	alike  map[string]int    // how many have a selection, by its text
	verses map[verse]*Batch  // of what was rung for in these
}

// ringsKept is how many rings somebody may be behind and still be told what all
// others were.
const ringsKept = 4

// verse names what the watchers of one selection are told together.
type verse struct {
	from      uint64
	selection string
}

// How long a crowd waits after the last ring: as long as it takes to tell
// everyone, about. A small one never waits.
const (
	crowdEach  = 100 * time.Microsecond
	crowdLeast = time.Millisecond
	crowdMost  = 10 * time.Millisecond
)

// wait returns how long the crowd is not to be told yet.
func (c *crowd) wait(now time.Time) time.Duration {
	gap := min(time.Duration(c.refs)*crowdEach, crowdMost)
	if gap < crowdLeast {
		return 0
	}
	return max(0, gap-now.Sub(c.rang))
}

// join counts a watcher in.
func (f *feed) join(selection string) {
	c := &f.crowd
	if c.refs == 0 {
		c.alike = map[string]int{}
		if !c.armed { // nobody was rung for, for long
			c.upTo = f.next
		}
	}
	c.refs++
	c.alike[selection]++
}

func (f *feed) leave(selection string) {
	c := &f.crowd
	c.refs--
	if c.alike[selection]--; c.alike[selection] == 0 {
		delete(c.alike, selection)
	}
}

// toll lets the crowd be told all there is. It returns the bell to close, or nil.
func (f *feed) toll(now time.Time) chan struct{} {
	c := &f.crowd
	bell := c.bell
	c.bell, c.rang, c.armed = nil, now, false
	copy(c.rings[:], c.rings[1:])
	c.rings[ringsKept-1], c.upTo = c.upTo, f.next
	for v := range c.verses { // of who left before being told
		if v.from < c.rings[0] {
			delete(c.verses, v)
		}
	}
	return bell
}

// batch returns what a watcher of the crowd is told together with all others of
// its selection, or nil if there are none.
func (f *feed) batch(w *Watcher) *Batch {
	c := &f.crowd
	alike := c.alike[w.selection]
	if alike < 2 || w.pos < c.rings[0] {
		return nil
	}
	v := verse{w.pos, w.selection}
	b := c.verses[v]
	if b == nil {
		if c.verses == nil {
			c.verses = map[verse]*Batch{}
		}
		b = &Batch{sel: w.sel, shared: true, left: alike}
		b.to = f.some(w.pos, c.upTo, func(ev *Event) { b.events = append(b.events, ev) })
		c.verses[v] = b
	}
	if b.left--; b.left == 0 {
		delete(c.verses, v)
	}
	return b
}

// some calls take with the events that a watcher at pos is told at once, before
// end, and returns the position after them.
func (f *feed) some(pos, end uint64, take func(*Event)) uint64 {
	end = min(end, pos+batchEvents)
	for bytes := 0; pos < end && bytes < batchBytes; pos++ {
		ev := f.get(pos)
		bytes += ev.entry.Size
		take(ev)
	}
	return pos
}

func (f *feed) get(pos uint64) *Event { return f.ring[pos&uint64(len(f.ring)-1)] }

// push appends an event and drops what no longer fits; it returns the newest
// revision dropped, or 0.
func (f *feed) push(ev *Event) (dropped int64) {
	for n := f.next - f.first; n >= minEvents; n-- {
		if n < maxEvents && f.bytes+ev.entry.Size <= maxBytes && ev.at-f.get(f.first).at <= maxAge {
			break
		}
		dropped = f.drop()
	}
	if int(f.next-f.first) == len(f.ring) {
		f.resize(max(8, 2*len(f.ring)))
	}
	f.ring[f.next&uint64(len(f.ring)-1)] = ev
	f.bytes += ev.entry.Size
	f.next++
	return dropped
}

// drop forgets the oldest event and returns its revision.
func (f *feed) drop() int64 {
	old := f.get(f.first)
	f.bytes -= old.entry.Size
	f.ring[f.first&uint64(len(f.ring)-1)] = nil
	f.first++
	return old.revision()
}

func (f *feed) resize(n int) {
	ring := make([]*Event, n)
	for p := f.first; p < f.next; p++ {
		ring[p&uint64(n-1)] = f.get(p)
	}
	f.ring = ring
}

// trim forgets what is older than a time, down to the least that is kept. It
// returns the newest revision dropped, or 0, and whether more than the least
// is left.
func (f *feed) trim(before time.Duration) (dropped int64, more bool) {
	for f.next-f.first > minEvents && f.get(f.first).at < before {
		dropped = f.drop()
	}
	n := int(f.next - f.first)
	if len(f.ring) > 2*minEvents && n <= minEvents {
		f.resize(minEvents)
	}
	return dropped, n > minEvents
}

// wake appends the bell to those that are rung at the end of the batch.
func (f *feed) wake(later *[]chan struct{}) {
	if f.bell != nil {
		*later = append(*later, f.bell)
		f.bell = nil
	}
}

// end rings all bells: there is nothing more to wait for.
func (f *feed) end() {
	var bells []chan struct{}
	f.wake(&bells)
	if f.crowd.bell != nil {
		bells = append(bells, f.crowd.bell)
		f.crowd.bell = nil
	}
	for _, b := range bells {
		close(b)
	}
}
