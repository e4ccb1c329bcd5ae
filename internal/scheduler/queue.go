package scheduler

import (
	"container/heap"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	firstBackoff = time.Second
	maxBackoff   = 10 * time.Second
)

// place in the queue
type place int

const (
	nowhere place = iota
	active        // to be decided
	backoff       // likewise, but only when nothing else is, or it is time
	delayed       // after an error: when it is time
	waiting       // fits nowhere, until something changes
	gated         // has scheduling gates
	binding       // decided
)

// item is a pod that is not bound yet.
type item struct {
	pod      *v1.Pod
	class    *class
	priority int32
	added    time.Time
	began    time.Time // the attempt that is under way
	seq      uint64
	attempts int
	ready    time.Time // end of its back-off
	at       place
	pos      int
	// coupled is set while the pod's verdicts depend on other nodes.
	coupled bool
	// claims is set while the pod waits for claims to be bound.
	claims bool
	report report
	// nominated is the node where room is being made for the pod, told the one
	// that the API was last told of.
	nominated, told string
}

// queue holds the pods that are not bound. Its owner guards it.
type queue struct {
	classes classes
	items   map[types.UID]*item
	active  itemHeap // by priority and age
	backoff itemHeap // by end of back-off
	delayed itemHeap
	// waiting: classes of pods that fit nowhere, and pods that must be tried
	// again whatever changes.
	waiting map[*class]struct{}
	coupled map[*item]struct{}
	// claimants wait for claims to be bound.
	claimants map[*item]struct{}
	seq       uint64
}

func newQueue() *queue {
	return &queue{
		items:   map[types.UID]*item{},
		active:  itemHeap{less: before},
		backoff: itemHeap{less: readier},
		delayed: itemHeap{less: readier},
		waiting: map[*class]struct{}{},
		coupled: map[*item]struct{}{},

		claimants: map[*item]struct{}{},
	}
}

// before is PrioritySort: higher priority first, then who came first.
func before(a, b *item) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	if !a.added.Equal(b.added) {
		return a.added.Before(b.added)
	}
	return a.seq < b.seq
}

func readier(a, b *item) bool { return a.ready.Before(b.ready) }

// set adds a pod, or takes in a change of one. A change that no plugin sees,
// such as of the status, leaves it where it is.
func (q *queue) set(pod *v1.Pod, now time.Time) {
	it := q.items[pod.UID]
	if it == nil {
		q.seq++
		it = &item{pod: pod, added: now, seq: q.seq, priority: priorityOf(pod)}
		q.items[pod.UID] = it
		it.class = q.classes.of(pod)
		q.admit(it)
		return
	}
	class := q.classes.of(pod)
	same := class == it.class && len(it.pod.Spec.SchedulingGates) == len(pod.Spec.SchedulingGates)
	q.classes.leave(class)
	priority := priorityOf(pod)
	if it.at == binding || same && priority == it.priority {
		it.pod = pod
		return
	}
	q.take(it)
	q.settle(it, true, now)
	q.classes.of(pod)
	q.classes.leave(it.class)
	it.pod, it.class, it.priority = pod, class, priority
	q.admit(it)
}

// admit is SchedulingGates: a pod with gates is not looked at.
func (q *queue) admit(it *item) {
	if len(it.pod.Spec.SchedulingGates) > 0 {
		it.at = gated
		return
	}
	q.push(it, active)
}

func (q *queue) heap(p place) *itemHeap {
	switch p {
	case active:
		return &q.active
	case backoff:
		return &q.backoff
	case delayed:
		return &q.delayed
	}
	return nil
}

// push puts an item that is nowhere to a place.
func (q *queue) push(it *item, to place) {
	it.at = to
	switch to {
	case active, backoff, delayed:
		heap.Push(q.heap(to), it)
	case waiting:
		switch {
		case it.claims:
			q.claimants[it] = struct{}{}
		case it.coupled:
			q.coupled[it] = struct{}{}
		default:
			heap.Push(&it.class.waiting, it)
			q.waiting[it.class] = struct{}{}
		}
	}
}

// take takes an item from where it is.
func (q *queue) take(it *item) {
	switch it.at {
	case active, backoff, delayed:
		heap.Remove(q.heap(it.at), it.pos)
	case waiting:
		if _, ok := q.claimants[it]; ok {
			delete(q.claimants, it)
			break
		}
		if _, ok := q.coupled[it]; ok {
			delete(q.coupled, it)
			break
		}
		heap.Remove(&it.class.waiting, it.pos)
		if len(it.class.waiting.items) == 0 {
			delete(q.waiting, it.class)
		}
	}
	it.at = nowhere
}

// remove forgets a pod.
func (q *queue) remove(uid types.UID, now time.Time) {
	it := q.items[uid]
	if it == nil {
		return
	}
	q.take(it)
	delete(q.items, uid)
	q.settle(it, true, now)
	q.classes.leave(it.class)
}

// pop returns the next pod to decide on, or nil. Pods that were woken before
// the end of their back-off come when there are no others.
func (q *queue) pop(now time.Time) *item {
	for len(q.delayed.items) > 0 && !q.delayed.items[0].ready.After(now) {
		it := q.delayed.items[0]
		q.take(it)
		q.push(it, active)
	}
	for len(q.backoff.items) > 0 && !q.backoff.items[0].ready.After(now) {
		it := q.backoff.items[0]
		q.take(it)
		q.push(it, active)
	}
	for _, h := range [...]*itemHeap{&q.active, &q.backoff} {
		if len(h.items) > 0 {
			it := h.items[0]
			q.take(it)
			it.attempts++
			return it
		}
	}
	return nil
}

// next returns when an item must be looked at that pop does not return now;
// zero if there is none.
func (q *queue) next() time.Time {
	if len(q.delayed.items) == 0 {
		return time.Time{}
	}
	return q.delayed.items[0].ready
}

// backOff sets when the item may be tried again.
func (it *item) backOff(now time.Time) {
	d := firstBackoff
	for n := 1; n < it.attempts && d < maxBackoff; n++ {
		d *= 2
	}
	it.ready = now.Add(min(d, maxBackoff))
}

// wakeClass has the first of a class's waiting pods tried again. The others
// follow one by one, as long as it helps: see settle.
func (q *queue) wakeClass(c *class, now time.Time) {
	if c.woken != nil || len(c.waiting.items) == 0 {
		return
	}
	c.woken = c.waiting.items[0]
	q.wake(c.woken, backoff, now)
}

// settle ends the turn of a pod that was woken. If it found a node, or is not
// there any more, there may be room for the next.
func (q *queue) settle(it *item, next bool, now time.Time) {
	if c := it.class; c.woken == it {
		c.woken = nil
		if next {
			q.wakeClass(c, now)
		}
	}
}

// wakeCoupled has all pods tried again of which the verdicts depend on the
// whole cluster.
func (q *queue) wakeCoupled(now time.Time) {
	for it := range q.coupled {
		q.wake(it, delayed, now)
	}
}

// wakeClaimants has the pods tried again that wait for claims.
func (q *queue) wakeClaimants(now time.Time, which func(*v1.Pod) bool) {
	for it := range q.claimants {
		if which(it.pod) {
			q.wake(it, backoff, now)
		}
	}
}

// wake moves a waiting item to where it is tried again, at once if its
// back-off is over.
func (q *queue) wake(it *item, otherwise place, now time.Time) {
	q.take(it)
	if it.ready.After(now) {
		q.push(it, otherwise)
	} else {
		q.push(it, active)
	}
}

type itemHeap struct {
	items []*item
	less  func(a, b *item) bool
}

func (h *itemHeap) Len() int           { return len(h.items) }
func (h *itemHeap) Less(i, j int) bool { return h.less(h.items[i], h.items[j]) }

func (h *itemHeap) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].pos, h.items[j].pos = i, j
}

func (h *itemHeap) Push(x any) {
	it := x.(*item)
	it.pos = len(h.items)
	h.items = append(h.items, it)
}

func (h *itemHeap) Pop() any {
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	return it
}
