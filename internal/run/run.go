// Package run starts the long-lived parts of a process in order and stops them
// in reverse.
//
// A part is a function that blocks until its context ends. A part may say when
// it is ready; the next part starts only then. When the group's context ends,
// or any part fails, the parts are stopped one after another, last started
// first, and all of them share one deadline.
package run

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Part is one long-lived member of a Group.
type Part struct {
	Name string
	// Run blocks until ctx ends and then returns nil or ctx's error, or what
	// went wrong while it stopped; or it returns early with the reason why it
	// cannot go on.
	Run func(ctx context.Context) error
	// Ready, when set, returns once the part serves others, or with ctx's error.
	Ready func(ctx context.Context) error
}

// Group is an ordered set of parts. The zero value is an empty group that
// waits for its parts without a limit when it stops.
type Group struct {
	// StopWithin bounds how long the whole group may take to stop; zero is no bound.
	StopWithin time.Duration
	// OnReady, when set, is called once after the last part became ready.
	OnReady func()

	parts []Part
}

// Add appends a part; it starts after, and stops before, those already there.
func (g *Group) Add(p Part) { g.parts = append(g.parts, p) }

// ErrStopTimeout is returned when parts still ran at the end of StopWithin.
var ErrStopTimeout = errors.New("parts did not stop in time")

type running struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	// Set before done is closed: why it ended early, what failed as it stopped.
	err, stopErr error
}

// Run starts the parts and blocks until ctx ends or a part fails. It returns
// nil after an orderly stop, or else the first part's error, joined with those
// of parts that failed to stop.
func (g *Group) Run(ctx context.Context) error {
	var (
		started []*running
		failed  = make(chan *running, len(g.parts))
		first   error
	)
	for _, p := range g.parts {
		// A part outlives ctx: it is ended by its own cancel, in reverse order.
		pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{name: p.Name, cancel: cancel, done: make(chan struct{})}
		started = append(started, r)
		go func() {
			defer close(r.done)
			switch err := p.Run(pctx); {
			case err == nil:
			case pctx.Err() == nil:
				r.err = fmt.Errorf("%s: %w", p.Name, err)
				failed <- r
			case !errors.Is(err, pctx.Err()):
				r.stopErr = fmt.Errorf("%s: stopping: %w", p.Name, err)
			}
		}()
		if first = g.awaitReady(ctx, p, failed); first != nil || ctx.Err() != nil {
			break
		}
	}
	if first == nil && ctx.Err() == nil {
		if g.OnReady != nil {
			g.OnReady()
		}
		select {
		case <-ctx.Done():
		case r := <-failed:
			first = r.err
		}
	}
	return errors.Join(first, g.stop(started))
}

func (g *Group) awaitReady(ctx context.Context, p Part, failed <-chan *running) error {
	if p.Ready == nil {
		return nil
	}
	rctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- p.Ready(rctx) }()
	select {
	case err := <-ready:
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: not ready: %w", p.Name, err)
		}
		return nil
	case r := <-failed:
		return r.err
	}
}

func (g *Group) stop(started []*running) (failed error) {
	var deadline <-chan time.Time
	if g.StopWithin > 0 {
		t := time.NewTimer(g.StopWithin)
		defer t.Stop()
		deadline = t.C
	}
	for i := len(started) - 1; i >= 0; i-- {
		started[i].cancel()
		select {
		case <-started[i].done:
			failed = errors.Join(failed, started[i].stopErr)
		case <-deadline:
			for _, r := range started[:i] {
				r.cancel()
			}
			return errors.Join(failed, fmt.Errorf("%s: %w", started[i].name, ErrStopTimeout))
		}
	}
	return failed
}
