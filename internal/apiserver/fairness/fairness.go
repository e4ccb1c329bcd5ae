// Package fairness shares the server's capacity between those who ask: priority
// and fairness as KEP-1040 describes it, configured by FlowSchema and
// PriorityLevelConfiguration objects.
//
// A request takes seats of its priority level. A level has a guaranteed part
// and lends the rest to a pool which levels with more to do borrow from; who is
// below its own part is served from the pool before who is above, so seats come
// back as soon as those who have them are done. Who finds no seat waits in one
// of a few queues that its flow was dealt, and queues are served by who has had
// least service since there are waiters. So whatever one flow does, another
// waits about as long as one request takes.
//
// Nothing runs in the background: work is done by who comes and who goes. A
// request that finds a seat takes one lock and allocates nothing.
package fairness

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/utils/clock"
)

// MaxSeats is how many seats one request may take.
const MaxSeats = 10

// Config is what a Dispatcher is made of.
type Config struct {
	// Seats are shared by all levels.
	Seats int
	// Wait is how long a request may stand in a queue.
	Wait  time.Duration
	Clock clock.WithTicker
}

// Dispatcher gives out seats. It is safe for concurrent use.
type Dispatcher struct {
	config Config
	seed   maphash.Seed

	mu       sync.Mutex
	flows    []*flow // in the order they are tried
	catchAll *flow
	levels   []*level // those that are left but still have requests among them
	pool     int      // seats that levels lend
	used     int      // of these
	waiting  int      // requests in queues of all levels
	writes   int      // of these
}

// New returns a Dispatcher with the default configuration.
func New(c Config) *Dispatcher {
	d := &Dispatcher{config: c, seed: maphash.MakeSeed()}
	d.Apply(DefaultSchemas(), DefaultLevels())
	return d
}

// Apply replaces the configuration. What is mandatory and not among the objects
// is added. Requests that wait at a level whose queues change, or that is no
// more, are classified anew; those that are under way go on.
func (d *Dispatcher) Apply(schemas []*flowcontrolv1.FlowSchema, levels []*flowcontrolv1.PriorityLevelConfiguration) {
	schemas, levels = withMandatory(schemas, levels)
	slices.SortFunc(schemas, inOrder)

	d.mu.Lock()
	defer d.mu.Unlock()
	old := make(map[string]*level, len(d.levels))
	for _, l := range d.levels {
		old[l.name] = l
	}
	byName := make(map[string]*level, len(levels))
	all, kept := 0, make([]*level, 0, len(levels))
	for _, c := range levels {
		l := old[c.Name]
		if l == nil {
			l = &level{name: c.Name}
		}
		delete(old, c.Name)
		waiting := l.queues
		l.uid, l.spec = string(c.UID), c.Spec
		l.exempt = c.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt
		if l.shape() {
			d.scatter(l, waiting)
		}
		s, _ := shares(&l.spec)
		all += s
		byName[c.Name] = l
		kept = append(kept, l)
	}
	d.pool, d.used = 0, 0
	for _, l := range kept {
		l.limit(d.config.Seats, all)
		d.pool += l.lent
	}
	for _, l := range old {
		d.scatter(l, l.queues)
		if l.nominal, l.lent, l.most = 0, 0, 0; l.executing > 0 {
			kept = append(kept, l)
		}
	}
	for _, l := range kept {
		d.used += l.pooled()
	}
	counted := make(map[string]*flow, len(d.flows))
	for _, f := range d.flows {
		counted[f.name] = f
	}
	d.levels, d.flows = kept, make([]*flow, 0, len(schemas))
	for _, s := range schemas {
		l := byName[s.Spec.PriorityLevelConfiguration.Name]
		if l == nil {
			continue // dangling
		}
		f := compile(s, l)
		f.seed = maphash.String(d.seed, s.Name)
		if was := counted[f.name]; was != nil && was.level == l {
			f.counters = was.counters
		} else {
			f.counters = newCounters()
		}
		if d.flows = append(d.flows, f); f.name == CatchAll {
			d.catchAll = f
		}
	}
	d.dispatch(d.config.Clock.Now())
}

// scatter sends all who wait in queues to be classified anew.
func (d *Dispatcher) scatter(l *level, queues []queue) {
	for i := range queues {
		for _, w := range queues[i].waiters {
			w.told <- again
			l.waiting--
			d.queued(w, -1)
		}
		queues[i].waiters = nil
	}
}

// withMandatory adds the objects without which nobody might get in.
func withMandatory(schemas []*flowcontrolv1.FlowSchema, levels []*flowcontrolv1.PriorityLevelConfiguration) ([]*flowcontrolv1.FlowSchema, []*flowcontrolv1.PriorityLevelConfiguration) {
	schemas, levels = slices.Clone(schemas), slices.Clone(levels)
	for _, l := range DefaultLevels() {
		if Mandatory(l.Name) && !slices.ContainsFunc(levels, func(o *flowcontrolv1.PriorityLevelConfiguration) bool { return o.Name == l.Name }) {
			levels = append(levels, l)
		}
	}
	for _, s := range DefaultSchemas() {
		if Mandatory(s.Name) && !slices.ContainsFunc(schemas, func(o *flowcontrolv1.FlowSchema) bool { return o.Name == s.Name }) {
			schemas = append(schemas, s)
		}
	}
	return schemas, levels
}

// Mandatory tells whether an object of the name, of either kind, always exists.
func Mandatory(name string) bool { return name == Exempt || name == CatchAll }

// Rejected is why a request got no seat.
type Rejected struct{ Reason string }

func (r *Rejected) Error() string { return "no seat: " + r.Reason }

// Reasons of Rejected, as upstream's metrics have them.
var (
	errFull    = &Rejected{"queue-full"}
	errLimit   = &Rejected{"concurrency-limit"}
	errTimeout = &Rejected{"time-out"}
)

// Seat is a request's place. It must be released once.
type Seat struct {
	d     *Dispatcher
	flow  *flow
	queue *queue
	seats int
	began time.Time
}

// Headers returns the UIDs of the flow schema and the priority level, as values
// of headers that must not be changed.
func (s *Seat) Headers() (schema, level []string) { return s.flow.uid, s.flow.levelUID }

// Enter gives a request seats, and tells how long it waited for them. An error
// is a *Rejected or the context's. now is when the request came.
func (d *Dispatcher) Enter(ctx context.Context, r *Request, seats int, now time.Time) (Seat, time.Duration, error) {
	for {
		d.mu.Lock()
		s, w, err := d.enter(r, seats, now)
		d.mu.Unlock()
		if w == nil {
			return s, 0, err
		}
		if v, err := d.wait(ctx, w); err != nil || v == admitted {
			began := d.config.Clock.Now()
			return Seat{d, w.flow, w.queue, w.seats, began}, began.Sub(now), err
		}
	}
}

// enter classifies a request and gives it a seat or a place in a queue.
func (d *Dispatcher) enter(r *Request, seats int, now time.Time) (Seat, *waiter, error) {
	f := d.classify(r)
	l := f.level
	if l.exempt {
		l.take(f, nil, seats, now)
		f.width.Add(int64(seats))
		return Seat{d, f, nil, seats, now}, nil, nil // it never waits, so no wait is counted
	}
	seats = l.width(min(seats, MaxSeats))
	f.width.Add(int64(seats))
	var q *queue
	if len(l.queues) > 0 {
		q = l.deal(d.hash(f, r))
	}
	if l.waiting == 0 {
		if d.fits(l, seats) {
			d.give(l, f, q, seats, now)
			f.waits.Took(0)
			if q != nil {
				f.lengths.Add(1) // as if it had stood there for a moment
			}
			return Seat{d, f, q, seats, now}, nil, nil
		}
		f.unfit++
	}
	switch {
	case q == nil:
		f.reject(errLimit, 0)
		return Seat{}, nil, errLimit
	case len(q.waiters) >= l.length:
		f.reject(errFull, 0)
		return Seat{}, nil, errFull
	}
	w := &waiter{flow: f, queue: q, seats: seats, writes: !reads(r.Verb), came: now, told: make(chan verdict, 1)}
	l.push(w)
	d.queued(w, 1)
	f.lengths.Add(int64(len(q.waiters)))
	d.dispatch(now) // it may be its turn, where a wider one does not fit
	return Seat{}, w, nil
}

// queued counts a request that came to a queue (1), or left it (-1).
func (d *Dispatcher) queued(w *waiter, n int) {
	d.waiting += n
	if w.writes {
		d.writes += n
	}
	w.flow.waiting += n
	w.flow.waitingSeats += n * w.seats
}

// reads tells whether a verb changes nothing.
func reads(verb string) bool {
	switch verb {
	case "get", "list", "watch", "head", "options":
		return true
	}
	return false
}

// Waiting returns how many requests stand in queues, reads and writes.
func (d *Dispatcher) Waiting() (reads, writes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting - d.writes, d.writes
}

func (d *Dispatcher) classify(r *Request) *flow {
	groups := r.User.GetGroups()
	for _, f := range d.flows {
		if f.matches(r, groups) {
			return f
		}
	}
	return d.catchAll
}

func (d *Dispatcher) hash(f *flow, r *Request) uint64 {
	h := f.seed
	switch {
	case f.byUser:
		h ^= maphash.String(d.seed, r.User.GetName())
	case f.byNamespace:
		h ^= maphash.String(d.seed, r.Namespace)
	}
	return h
}

// wait returns when a waiter is told its verdict, or gives up.
func (d *Dispatcher) wait(ctx context.Context, w *waiter) (verdict, error) {
	timer := d.config.Clock.NewTimer(d.config.Wait)
	defer timer.Stop()
	var err error
	select {
	case v := <-w.told:
		return v, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C():
		err = errTimeout
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case v := <-w.told: // just so
		return v, nil
	default:
	}
	f, now := w.flow, d.config.Clock.Now()
	f.level.drop(w)
	d.queued(w, -1)
	if err == errTimeout {
		f.reject(errTimeout, now.Sub(w.came))
	} else {
		f.cancelled++
		f.refused.Took(now.Sub(w.came))
	}
	// Who was behind a wide one may fit now.
	d.dispatch(now)
	return admitted, err
}

// fits tells whether a level may take that many more seats.
func (d *Dispatcher) fits(l *level, seats int) bool {
	after := l.executing + seats
	if after > l.most {
		return false
	}
	extra := max(0, after-l.guaranteed()) - l.pooled()
	return extra == 0 || d.used+extra <= d.pool
}

func (d *Dispatcher) give(l *level, f *flow, q *queue, seats int, now time.Time) {
	d.used -= l.pooled()
	l.take(f, q, seats, now)
	d.used += l.pooled()
}

// dispatch gives free seats to those who wait: first to the level that uses
// least of its own.
func (d *Dispatcher) dispatch(now time.Time) {
	for d.waiting > 0 {
		var best *level
		owed := false // a level below its own part waits for the pool
		for _, l := range d.levels {
			if l.waiting == 0 || best != nil && l.usage() >= best.usage() {
				continue
			}
			if w := l.next(now).waiters[0]; !d.fits(l, l.width(w.seats)) {
				w.flow.unfit++
				owed = owed || l.executing < l.nominal
				continue
			}
			best = l
		}
		if best == nil || owed && best.executing >= best.nominal {
			return
		}
		q := best.next(now)
		w := q.waiters[0]
		d.queued(w, -1)
		w.seats = best.width(w.seats)
		d.give(best, w.flow, q, w.seats, now)
		best.drop(w)
		best.turn++
		q.turn = best.turn
		w.flow.waits.Took(now.Sub(w.came))
		w.told <- admitted
	}
}

// Release gives the seats back.
func (s *Seat) Release(now time.Time) {
	d, l := s.d, s.flow.level
	d.mu.Lock()
	d.used -= l.pooled()
	l.give(s.flow, s.queue, s.seats, s.began, now)
	d.used += l.pooled()
	s.flow.took.Took(now.Sub(s.began))
	if d.waiting > 0 {
		d.dispatch(now)
	}
	d.mu.Unlock()
}

// String is for debugging.
func (d *Dispatcher) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("pool %d/%d, %d waiting", d.used, d.pool, d.waiting)
}
