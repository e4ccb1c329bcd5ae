package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// ProbeKind is one of the three probes of a container.
type ProbeKind int

const (
	Startup ProbeKind = iota
	Liveness
	Readiness
	probeKinds
)

func (k ProbeKind) String() string { return [...]string{"Startup", "Liveness", "Readiness"}[k] }

// Result of a probe.
type Result int

const (
	Unknown Result = iota
	Success
	Failure
	// Refused: nobody listens on the port (yet).
	Refused
)

// Probe keeps one probe's schedule and its result over a container's run.
//
// The first try is initialDelaySeconds after the start of the container, the
// next ones follow each period after the one before began. A result counts
// once it came successThreshold or failureThreshold times in a row.
//
// A server needs a moment before it listens. Within the first period a refused
// connection of a startup or readiness probe is therefore no result: the port
// is asked again soon, so that a pod is ready when it is, not a period later.
type Probe struct {
	Kind ProbeKind
	// Spec is nil when the container has no such probe.
	Spec *v1.Probe
	// Busy: one try is under way.
	Busy bool

	next time.Time
	// early is the next try beside the schedule, first is when the schedule
	// began, soon the time from one early try to the next.
	early, first time.Time
	soon         time.Duration
	result       Result
	last         Result
	run          int32
}

// Early tries begin soonFirst after the one before, and get rarer up to soonMost.
const (
	soonFirst = 20 * time.Millisecond
	soonMost  = time.Second
)

// reset prepares the probe for a new run that started at the given time.
func (p *Probe) reset(started time.Time) {
	p.result, p.last, p.run = Unknown, Unknown, 0
	if p.Spec != nil {
		p.next = started.Add(time.Duration(p.Spec.InitialDelaySeconds) * time.Second)
	}
	p.first, p.early, p.soon = p.next, time.Time{}, soonFirst
}

// due is when the next try is.
func (p *Probe) due() time.Time {
	if !p.early.IsZero() && p.early.Before(p.next) {
		return p.early
	}
	return p.next
}

// adopt takes over a verdict from before a restart of the node agent.
func (p *Probe) adopt(passed bool) {
	if passed {
		p.result, p.last, p.run = Success, Success, 1
	}
}

// Passed tells whether the container may count as started or ready.
func (p *Probe) Passed() bool { return p.Spec == nil || p.result == Success }

// Failed tells whether the failure threshold was reached.
func (p *Probe) Failed() bool { return p.Spec != nil && p.result == Failure }

func (p *Probe) period() time.Duration {
	return time.Duration(max(p.Spec.PeriodSeconds, 1)) * time.Second
}

// begin notes a try at the given time.
func (p *Probe) begin(now time.Time) {
	p.Busy = true
	if p.early = (time.Time{}); p.next.After(now) {
		return // an early try
	}
	// Tries missed in the meantime are not made up for.
	for p.next = p.next.Add(p.period()); !p.next.After(now); {
		missed := now.Sub(p.next)/p.period() + 1
		p.next = p.next.Add(missed * p.period())
	}
}

// observe counts the outcome of a try; false means that it was none.
func (p *Probe) observe(now time.Time, r Result) bool {
	p.Busy = false
	if p.Spec == nil || r == Unknown {
		return false
	}
	if r == Refused {
		if p.Kind != Liveness && p.result != Success && now.Before(p.first.Add(p.period())) {
			p.early, p.soon = now.Add(p.soon), min(2*p.soon, soonMost)
			return false
		}
		r = Failure
	}
	if p.last == r {
		p.run++
	} else {
		p.last, p.run = r, 1
	}
	threshold := p.Spec.FailureThreshold
	if r == Success {
		threshold = p.Spec.SuccessThreshold
	}
	if p.run >= threshold {
		p.result = r
	}
	return true
}
