package fairness

import (
	"math"
	"slices"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
)

// level is a priority level: some of the server's seats, and the queues of
// those who wait for one. The Dispatcher guards it.
type level struct {
	name string
	uid  string
	spec flowcontrolv1.PriorityLevelConfigurationSpec

	exempt bool
	queues []queue // none: who finds no seat is turned away
	hand   int     // how many queues a flow is spread over
	length int     // of a queue

	// nominal are the level's own seats; lent of these may be used by others,
	// and most is how many it may have together with what it borrows.
	nominal, lent, most int

	executing int // seats in use
	running   int // requests that use them
	waiting   int // requests in all queues
	// service is about how long a seat is taken; it weighs what was begun but
	// is not over yet. It is learned while there is a queue.
	service time.Duration
	turn    uint64 // counts dispatches from queues
}

// guaranteed are the seats that no other level can have.
func (l *level) guaranteed() int { return l.nominal - l.lent }

// pooled is how many of the seats in use are out of the pool of lent ones.
func (l *level) pooled() int {
	if l.exempt {
		return 0
	}
	return max(0, l.executing-l.guaranteed())
}

// usage is how much of its own seats the level uses; below 1 it borrows none.
func (l *level) usage() float64 {
	return float64(l.executing) / math.Max(float64(l.nominal), 0.5)
}

// width is how many seats a request gets that asks for some: never more than
// there can be.
func (l *level) width(seats int) int { return max(1, min(seats, l.nominal)) }

// shares are what the level's part of all seats is reckoned by.
func shares(spec *flowcontrolv1.PriorityLevelConfigurationSpec) (shares, lendable int) {
	of := func(p *int32, unset int) int {
		if p == nil {
			return unset
		}
		return int(*p)
	}
	switch {
	case spec.Limited != nil:
		return of(spec.Limited.NominalConcurrencyShares, 30), of(spec.Limited.LendablePercent, 0)
	case spec.Exempt != nil:
		return of(spec.Exempt.NominalConcurrencyShares, 0), of(spec.Exempt.LendablePercent, 0)
	}
	return 0, 0
}

// limit gives the level its part of all seats.
func (l *level) limit(seats, all int) {
	s, lendable := shares(&l.spec)
	if all > 0 {
		l.nominal = int(math.Ceil(float64(seats) * float64(s) / float64(all)))
	} else {
		l.nominal = 0
	}
	l.lent = int(math.Round(float64(l.nominal) * float64(lendable) / 100))
	l.most = math.MaxInt32
	if l.spec.Limited != nil && l.spec.Limited.BorrowingLimitPercent != nil {
		l.most = l.nominal + int(math.Round(float64(l.nominal)*float64(*l.spec.Limited.BorrowingLimitPercent)/100))
	}
}

// shape makes the level's queues as the spec wants them, and tells whether
// they changed.
func (l *level) shape() bool {
	queues, hand, length := 0, 0, 0
	if p := l.spec.Limited; p != nil && p.LimitResponse.Type == flowcontrolv1.LimitResponseTypeQueue && p.LimitResponse.Queuing != nil {
		q := p.LimitResponse.Queuing
		queues, hand, length = max(1, int(q.Queues)), max(1, int(q.HandSize)), int(q.QueueLengthLimit)
		hand = min(hand, queues, maxHand)
	}
	l.length = length
	if queues == len(l.queues) && hand == l.hand {
		return false
	}
	l.queues, l.hand = make([]queue, queues), hand
	return true
}

// queue is one of a level's queues. It may hold several flows, but two flows
// rarely share all of their hands.
type queue struct {
	waiters   []*waiter // in the order they came
	executing int       // seats in use by requests that came this way
	// attained is the service that was had since the level has waiters, in
	// seats times nanoseconds, up to since.
	attained float64
	since    time.Time
	turn     uint64 // of the last dispatch
}

// waiter is a request in a queue.
type waiter struct {
	flow  *flow
	queue *queue
	seats int
	// writes tells that it is no read.
	writes bool
	came   time.Time
	// told gets the verdict, once.
	told chan verdict
}

type verdict int

const (
	admitted verdict = iota
	again            // the configuration changed: be classified anew
)

// charge brings what the queue attained up to now.
func (q *queue) charge(now time.Time) {
	if q.executing > 0 {
		q.attained += float64(q.executing) * float64(now.Sub(q.since))
	}
	q.since = now
}

// deal returns the queue of a flow's hand in which there is the least before it.
func (l *level) deal(hash uint64) *queue {
	var dealt [maxHand]int // ascending
	var best *queue
	least := 0
	for i := range l.hand {
		left := uint64(len(l.queues) - i)
		card := int(hash % left)
		hash /= left
		// Cards already dealt are not in the deck: count past them.
		at := 0
		for at < i && dealt[at] <= card {
			card++
			at++
		}
		copy(dealt[at+1:i+1], dealt[at:i])
		dealt[at] = card
		q := &l.queues[card]
		if before := q.executing + len(q.waiters)<<16; best == nil || before < least {
			best, least = q, before
		}
	}
	return best
}

// maxHand bounds hands; the API's rules leave no room for larger ones.
const maxHand = 32

// push lets a request wait.
func (l *level) push(w *waiter) {
	if l.waiting == 0 {
		// What was had while there was enough for all is nobody's debt.
		for i := range l.queues {
			l.queues[i].attained, l.queues[i].since = 0, w.came
		}
	}
	if q := w.queue; len(q.waiters) == 0 && q.executing == 0 {
		// Who comes back begins where the one stands who has had least.
		q.since, q.attained = w.came, 0
		if l.waiting > 0 {
			q.attained = l.rank(l.next(w.came), w.came)
		}
	}
	w.queue.waiters = append(w.queue.waiters, w)
	l.waiting++
}

// drop takes a request out that gave up, and tells whether it was still there.
func (l *level) drop(w *waiter) bool {
	i := slices.Index(w.queue.waiters, w)
	if i < 0 {
		return false
	}
	w.queue.waiters = slices.Delete(w.queue.waiters, i, i+1)
	l.waiting--
	return true
}

// rank is what a queue has had, with what is under way.
func (l *level) rank(q *queue, now time.Time) float64 {
	r := q.attained
	if q.executing > 0 {
		r += float64(q.executing) * float64(now.Sub(q.since)+l.service)
	}
	return r
}

// next is the queue whose turn it is: the one that has had least. There is one
// that waits.
func (l *level) next(now time.Time) *queue {
	var best *queue
	least := 0.0
	for i := range l.queues {
		q := &l.queues[i]
		if len(q.waiters) == 0 {
			continue
		}
		if r := l.rank(q, now); best == nil || r < least || r == least && q.turn < best.turn {
			best, least = q, r
		}
	}
	return best
}

// take gives seats to a request.
func (l *level) take(f *flow, q *queue, seats int, now time.Time) {
	if q != nil {
		if l.waiting > 0 {
			q.charge(now)
		}
		q.executing += seats
	}
	l.executing += seats
	l.running++
	f.running++
	f.seats += seats
	f.dispatched++
}

// give takes them back.
func (l *level) give(f *flow, q *queue, seats int, began, now time.Time) {
	if q != nil {
		if l.waiting > 0 {
			q.charge(now)
			l.service += (now.Sub(began) - l.service) / 8
		}
		q.executing -= seats
	}
	l.executing -= seats
	l.running--
	f.running--
	f.seats -= seats
}
