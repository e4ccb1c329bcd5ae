package fairness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func dispatcher(seats int) (*Dispatcher, *testingclock.FakeClock) {
	c := testingclock.NewFakeClock(time.Unix(1e9, 0))
	return New(Config{Seats: seats, Wait: 15 * time.Second, Clock: c}), c
}

func from(name string, groups ...string) user.Info {
	return &user.DefaultInfo{Name: name, Groups: append(groups, "system:authenticated")}
}

func pods(u user.Info) *Request {
	return &Request{User: u, Verb: "list", Resource: true, Name: "pods", Namespace: "default"}
}

// Where requests of the default configuration belong, as its documentation says.
func TestClassify(t *testing.T) {
	d, _ := dispatcher(600)
	for _, tt := range []struct {
		want string
		r    Request
	}{
		{"exempt", Request{User: from("admin", "system:masters"), Verb: "get", Path: "/apis"}},
		{"probes", Request{User: from("x"), Verb: "get", Path: "/healthz"}},
		{"probes", Request{User: &user.DefaultInfo{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}, Verb: "get", Path: "/readyz"}},
		{"global-default", Request{User: from("x"), Verb: "get", Path: "/readyz/ping"}},
		{"system-leader-election", Request{User: from("system:kube-scheduler"), Verb: "update", Resource: true, Group: "coordination.k8s.io", Name: "leases", Namespace: "kube-system"}},
		{"kube-scheduler", Request{User: from("system:kube-scheduler"), Verb: "delete", Resource: true, Group: "coordination.k8s.io", Name: "leases", Namespace: "kube-system"}},
		{"system-leader-election", Request{User: from("system:serviceaccount:kube-system:x", "system:serviceaccounts"), Verb: "get", Resource: true, Group: "coordination.k8s.io", Name: "leases", Namespace: "other"}},
		{"system-node-high", Request{User: from("system:node:a", "system:nodes"), Verb: "patch", Resource: true, Name: "nodes/status"}},
		{"system-node-high", Request{User: from("system:node:a", "system:nodes"), Verb: "update", Resource: true, Group: "coordination.k8s.io", Name: "leases", Namespace: "kube-node-lease"}},
		{"system-nodes", Request{User: from("system:node:a", "system:nodes"), Verb: "list", Resource: true, Group: "coordination.k8s.io", Name: "leases"}},
		{"system-nodes", *pods(from("system:node:a", "system:nodes"))},
		{"kube-system-service-accounts", *pods(from("system:serviceaccount:kube-system:x", "system:serviceaccounts"))},
		{"service-accounts", *pods(from("system:serviceaccount:kube-systems:x", "system:serviceaccounts"))},
		{"global-default", *pods(from("x"))},
		{"catch-all", *pods(&user.DefaultInfo{Name: "nobody's"})},
	} {
		if got := d.classify(&tt.r); got.name != tt.want {
			t.Errorf("%s %s %s%s is of %s, want %s", tt.r.User.GetName(), tt.r.Verb, tt.r.Name, tt.r.Path, got.name, tt.want)
		}
	}
}

// Nominal seats are those that upstream prints for 600.
func TestNominal(t *testing.T) {
	d, _ := dispatcher(600)
	want := map[string][2]int{ // nominal, guaranteed
		"exempt": {0, 0}, "catch-all": {13, 13}, "system": {74, 50}, "node-high": {98, 73}, "leader-election": {25, 25},
		"workload-high": {98, 49}, "workload-low": {245, 24}, "global-default": {49, 24},
	}
	for _, l := range d.levels {
		if got := [2]int{l.nominal, l.guaranteed()}; got != want[l.name] {
			t.Errorf("%s: %v, want %v", l.name, got, want[l.name])
		}
	}
}

// entering is a request on its way in.
type entering struct {
	seat Seat
	err  error
	done chan struct{}
}

// enter starts a request and returns once it has a seat or stands in a queue.
func enter(t *testing.T, d *Dispatcher, ctx context.Context, r *Request, seats int) *entering {
	t.Helper()
	d.mu.Lock()
	before := d.waiting
	d.mu.Unlock()
	e := &entering{done: make(chan struct{})}
	go func() {
		e.seat, _, e.err = d.Enter(ctx, r, seats, d.config.Clock.Now())
		close(e.done)
	}()
	for {
		select {
		case <-e.done:
			return e
		default:
		}
		d.mu.Lock()
		waits := d.waiting > before
		d.mu.Unlock()
		if waits {
			return e
		}
	}
}

func (e *entering) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// One flow fills the server; another's first request is next when a seat is free.
func TestFair(t *testing.T) {
	d, c := dispatcher(60)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	noisy, quiet := pods(from("noisy")), pods(from("quiet"))
	var in []*entering
	for range 300 {
		in = append(in, enter(t, d, ctx, noisy, 1))
	}
	running, waiting, rejected := 0, 0, 0
	for _, e := range in {
		switch {
		case !e.over():
			waiting++
		case e.err != nil:
			rejected++
		default:
			running++
		}
	}
	if running == 0 || waiting == 0 || running+waiting+rejected != 300 {
		t.Fatalf("%d run, %d wait, %d are turned away", running, waiting, rejected)
	}
	// Borrowing leaves what others are guaranteed.
	node := enter(t, d, t.Context(), pods(from("system:node:a", "system:nodes")), 1)
	if !node.over() || node.err != nil {
		t.Fatal("a node waits for a seat that is its own")
	}
	first := enter(t, d, t.Context(), quiet, 1)
	if first.over() {
		t.Fatal("there was a seat left")
	}
	c.Step(time.Second)
	// The quiet flow has had nothing, so the seat is its own.
	in[0].seat.Release(c.Now())
	<-first.done
	if first.err != nil {
		t.Fatal(first.err)
	}
	// A level below its own part goes before one that borrows.
	low := pods(from("system:serviceaccount:a:b", "system:serviceaccounts"))
	var more []*entering
	for range 20 {
		more = append(more, enter(t, d, ctx, low, 1))
	}
	got := make(chan error, len(more))
	waits := 0
	for _, e := range more {
		if e.over() && e.err == nil {
			continue
		}
		waits++
		go func() { <-e.done; got <- e.err }()
	}
	if waits == 0 {
		t.Fatal("none of the service account's waits")
	}
	c.Step(time.Second)
	in[1].seat.Release(c.Now())
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	cancel() // the rest
	for range waits - 1 {
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("%v: another got the one seat", err)
		}
	}
}

func TestGivesUp(t *testing.T) {
	d, c := dispatcher(1)
	r := pods(from("a"))
	d.Apply(nil, []*flowcontrolv1.PriorityLevelConfiguration{})
	// All that is left is the catch-all, with one seat and no queue.
	held := enter(t, d, t.Context(), r, 5)
	if held.err != nil {
		t.Fatal(held.err)
	}
	var why *Rejected
	if e := enter(t, d, t.Context(), r, 1); !errors.As(e.err, &why) || why.Reason != "concurrency-limit" {
		t.Errorf("%v", e.err)
	}
	// A level whose configuration gets queues.
	l := DefaultLevels()[1]
	l.Spec.Limited.LimitResponse = flowcontrolv1.LimitResponse{
		Type: flowcontrolv1.LimitResponseTypeQueue, Queuing: &flowcontrolv1.QueuingConfiguration{Queues: 1, HandSize: 1, QueueLengthLimit: 2},
	}
	d.Apply(nil, []*flowcontrolv1.PriorityLevelConfiguration{l})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := enter(t, d, ctx, r, 1), enter(t, d, t.Context(), r, 1)
	if e := enter(t, d, t.Context(), r, 1); !errors.As(e.err, &why) || why.Reason != "queue-full" {
		t.Errorf("%v", e.err)
	}
	cancel()
	<-first.done
	if !errors.Is(first.err, context.Canceled) {
		t.Error(first.err)
	}
	for !c.HasWaiters() {
	}
	c.Step(15 * time.Second)
	<-second.done
	if !errors.As(second.err, &why) || why.Reason != "time-out" {
		t.Error(second.err)
	}
	// Who waits when queues change waits in the new ones.
	third := enter(t, d, t.Context(), r, 1)
	l = l.DeepCopy()
	l.Spec.Limited.LimitResponse.Queuing.Queues = 4
	d.Apply(nil, []*flowcontrolv1.PriorityLevelConfiguration{l})
	held.seat.Release(c.Now())
	<-third.done
	if third.err != nil {
		t.Error(third.err)
	}
	third.seat.Release(c.Now())
	if got := d.String(); got != "pool 0/0, 0 waiting" {
		t.Error(got)
	}
}

// Hands are of different queues, all of which are dealt.
func TestDeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		queues := rapid.IntRange(1, 128).Draw(t, "queues")
		l := &level{hand: rapid.IntRange(1, min(queues, 8)).Draw(t, "hand"), queues: make([]queue, queues)}
		hash := rapid.Uint64().Draw(t, "hash")
		// Whichever is dealt is made longer, so a hand is seen one by one.
		seen := map[*queue]bool{}
		for range l.hand {
			q := l.deal(hash)
			if seen[q] {
				t.Fatal("a queue is twice in one hand")
			}
			seen[q] = true
			q.executing = 1
		}
		if q := l.deal(hash); !seen[q] {
			t.Fatal("the hand of a hash changes")
		}
	})
}

// Whatever comes and goes, seats are counted right, no level loses what it is
// guaranteed, and in the end nobody is left.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, c := dispatcher(rapid.IntRange(1, 40).Draw(t, "seats"))
		type held struct{ s Seat }
		var in []held
		var waiting []*waiter
		settle := func() {
			waiting = slices.DeleteFunc(waiting, func(w *waiter) bool {
				select {
				case v := <-w.told:
					if v == admitted {
						in = append(in, held{Seat{d, w.flow, w.queue, w.seats, c.Now()}})
					}
					return true
				default:
					return false
				}
			})
		}
		users := []user.Info{
			from("a"), from("b"), from("c"), from("system:node:n", "system:nodes"),
			from("system:serviceaccount:kube-system:s", "system:serviceaccounts"), from("system:serviceaccount:x:s", "system:serviceaccounts"),
			from("root", "system:masters"), &user.DefaultInfo{Name: "none"},
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "do") {
			default:
				r := pods(users[rapid.IntRange(0, len(users)-1).Draw(t, "user")])
				s, w, err := d.enter(r, rapid.IntRange(1, 12).Draw(t, "width"), c.Now())
				if w != nil {
					waiting = append(waiting, w)
				} else if err == nil {
					in = append(in, held{s})
				}
			case 3, 4, 5:
				if len(in) > 0 {
					i := rapid.IntRange(0, len(in)-1).Draw(t, "which")
					in[i].s.Release(c.Now())
					in = slices.Delete(in, i, i+1)
				}
			case 6:
				levels := DefaultLevels()
				if rapid.Bool().Draw(t, "less") {
					levels = levels[:rapid.IntRange(2, len(levels)).Draw(t, "levels")]
				}
				levels[len(levels)-1].Spec.Limited.NominalConcurrencyShares = ptr.To(int32(rapid.IntRange(0, 50).Draw(t, "shares")))
				d.Apply(DefaultSchemas(), levels)
			}
			c.Step(time.Millisecond)
			settle()
			used, queued := 0, 0
			for _, l := range d.levels {
				used += l.pooled()
				inQueues := 0
				for i := range l.queues {
					inQueues += len(l.queues[i].waiters)
				}
				if inQueues != l.waiting {
					t.Fatalf("%s: %d in queues, %d counted", l.name, inQueues, l.waiting)
				}
				queued += l.waiting
				// Nobody waits for seats that are the level's alone.
				widest := 0
				for i := range l.queues {
					if q := &l.queues[i]; len(q.waiters) > 0 {
						widest = max(widest, q.waiters[0].seats)
					}
				}
				if l.waiting > 0 && l.executing+l.width(widest) <= l.guaranteed() {
					t.Fatalf("%s: %d wait beside %d of %d", l.name, l.waiting, l.executing, l.guaranteed())
				}
			}
			if used != d.used || queued != d.waiting || queued != len(waiting) {
				t.Fatalf("pool %d, counted %d; %d wait, counted %d, known %d", used, d.used, queued, d.waiting, len(waiting))
			}
		}
		for n := 0; len(in)+len(waiting) > 0; n++ {
			if len(in) == 0 {
				// Only levels without seats let people wait for ever.
				for _, w := range waiting {
					if w.flow.level.nominal > 0 {
						t.Fatalf("%s waits beside nobody", w.flow.name)
					}
					w.flow.level.drop(w)
					d.waiting--
				}
				break
			}
			in[0].s.Release(c.Now())
			in = in[1:]
			settle()
		}
		if d.used != 0 || d.waiting != 0 {
			t.Fatal(d.String())
		}
	})
}

func BenchmarkEnter(b *testing.B) {
	for _, u := range []user.Info{from("somebody"), from("admin", "system:masters")} {
		b.Run(u.GetName(), func(b *testing.B) {
			d, c := dispatcher(600)
			r, now := pods(u), c.Now()
			b.ReportAllocs()
			for b.Loop() {
				s, _, err := d.Enter(b.Context(), r, 1, now)
				if err != nil {
					b.Fatal(err)
				}
				s.Release(now)
			}
		})
	}
}

func ExampleSeat_Headers() {
	d, c := dispatcher(600)
	s, _, _ := d.Enter(context.Background(), pods(from("somebody")), 1, c.Now())
	defer s.Release(c.Now())
	fmt.Println(s.flow.name, s.flow.level.name)
	// Output: global-default global-default
}
