package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// journal is what parts did, in order, each with the time.
type journal struct {
	sync.Mutex
	lines []string
	at    []time.Time
}

func (j *journal) note(format string, args ...any) {
	j.Lock()
	defer j.Unlock()
	j.lines, j.at = append(j.lines, fmt.Sprintf(format, args...)), append(j.at, time.Now())
}

func (j *journal) when(format string, args ...any) (time.Time, bool) {
	j.Lock()
	defer j.Unlock()
	i := slices.Index(j.lines, fmt.Sprintf(format, args...))
	if i < 0 {
		return time.Time{}, false
	}
	return j.at[i], true
}

func (j *journal) String() string {
	j.Lock()
	defer j.Unlock()
	return strings.Join(j.lines, ", ")
}

// script is what a part of a test does.
type script struct {
	hasReady   bool
	readyAfter time.Duration // from its start
	readyFails bool
	failsAfter time.Duration // from its start; 0 is never
	stopTakes  time.Duration
	stopFails  bool
}

var (
	errBroke = errors.New("broke")
	errUnfit = errors.New("unfit")
	errClose = errors.New("close failed")
)

func (s script) part(j *journal, i int) Part {
	p := Part{Name: fmt.Sprint("part", i), Run: func(ctx context.Context) error {
		j.note("start %d", i)
		defer j.note("end %d", i)
		var fails <-chan time.Time
		if s.failsAfter > 0 {
			fails = time.After(s.failsAfter)
		}
		select {
		case <-fails:
			j.note("fail %d", i)
			return errBroke
		case <-ctx.Done():
		}
		j.note("stop %d", i)
		<-time.After(s.stopTakes)
		if s.stopFails {
			return errClose
		}
		return ctx.Err()
	}}
	if s.hasReady {
		p.Ready = func(ctx context.Context) error {
			select {
			case <-time.After(s.readyAfter):
			case <-ctx.Done():
				return ctx.Err()
			}
			if s.readyFails {
				j.note("unready %d", i)
				return errUnfit
			}
			j.note("ready %d", i)
			return nil
		}
	}
	return p
}

// play runs a group under a clock of its own, cancels it at a time, and returns
// what happened and how long the group took.
func play(t *testing.T, parts []script, cancelAt, stopWithin time.Duration) (j *journal, took time.Duration, err error) {
	j = &journal{}
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), cancelAt)
		defer cancel()
		g := Group{StopWithin: stopWithin, OnReady: func() { j.note("all ready") }}
		for i, s := range parts {
			g.Add(s.part(j, i))
		}
		begin := time.Now()
		err = g.Run(ctx)
		took = time.Since(begin)
		j.note("returned")
		<-time.After(2 * time.Hour) // for parts that were left behind
	})
	return j, took, err
}

const second = time.Second

func TestOrder(t *testing.T) {
	parts := []script{{hasReady: true, readyAfter: 2 * second}, {stopTakes: second}, {hasReady: true, readyAfter: second, stopTakes: second}}
	j, _, err := play(t, parts, 10*second, 0)
	const want = "start 0, ready 0, "
	const rest = "ready 2, all ready, stop 2, end 2, stop 1, end 1, stop 0, end 0, returned"
	got := j.String()
	if err != nil || !strings.HasPrefix(got, want) || !strings.HasSuffix(got, rest) {
		t.Errorf("%v; %s\nwant %s...%s", err, got, want, rest)
	}
}

func TestFailures(t *testing.T) {
	quiet := script{hasReady: true}
	for _, c := range []struct {
		name       string
		parts      []script
		stopWithin time.Duration
		err        error
		text       string
		not        string // must not be in the journal
	}{
		{"the first part before it is ready", []script{{hasReady: true, readyAfter: 5 * second, failsAfter: second}, quiet}, 0, errBroke, "part0: broke", "start 1"},
		{"a later part before it is ready", []script{quiet, {hasReady: true, readyAfter: 5 * second, failsAfter: second}, quiet}, 0, errBroke, "part1: broke", "start 2"},
		{"an earlier part while a later one becomes ready", []script{{failsAfter: second}, {hasReady: true, readyAfter: 5 * second}, quiet}, 0, errBroke, "part0: broke", "start 2"},
		{"a part that cannot become ready", []script{quiet, {hasReady: true, readyAfter: second, readyFails: true}, quiet}, 0, errUnfit, "part1: not ready: unfit", "start 2"},
		{"a part after all are ready", []script{quiet, {failsAfter: 5 * second}, quiet}, 0, errBroke, "part1: broke", "-"},
		{"a part while it stops", []script{quiet, {stopFails: true}}, 0, errClose, "part1: stopping: close failed", "-"},
		{"a part that does not stop", []script{quiet, {stopTakes: time.Hour}}, second, ErrStopTimeout, "part1: parts did not stop in time", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, _, err := play(t, c.parts, time.Minute, c.stopWithin)
			if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %s", err, c.text)
			}
			if _, found := j.when("%s", c.not); found {
				t.Errorf("%s happened: %s", c.not, j)
			}
		})
	}
}

func TestCancelledWhileStarting(t *testing.T) {
	j, took, err := play(t, []script{{}, {hasReady: true, readyAfter: time.Hour}, {}}, second, 0)
	if err != nil || took != second {
		t.Errorf("%v after %v", err, took)
	}
	if s := j.String(); strings.Contains(s, "start 2") || strings.Contains(s, "all ready") || !strings.Contains(s, "stop 1, end 1, stop 0, end 0") {
		t.Error(s)
	}
}

func TestEmpty(t *testing.T) {
	j, took, err := play(t, nil, second, 0)
	if err != nil || took != second || j.String() != "all ready, returned" {
		t.Errorf("%v after %v: %s", err, took, j)
	}
}

// TestAnyGroup: whatever the parts do, they start in order, each after the one
// before it is ready, stop in reverse, each after the one behind it has ended,
// and the group is done in time and says what went wrong.
func TestAnyGroup(t *testing.T) {
	seconds := func(from, to int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(from, to), func(n int) time.Duration { return time.Duration(n) * second })
	}
	one := rapid.Custom(func(t *rapid.T) script {
		s := script{hasReady: rapid.Bool().Draw(t, "has ready"), readyAfter: seconds(0, 5).Draw(t, "ready after")}
		if s.hasReady {
			s.readyFails = rapid.IntRange(0, 9).Draw(t, "ready fails") == 0
		}
		if rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
			// Not at a time at which anything else happens.
			s.failsAfter = seconds(1, 20).Draw(t, "fails after") - second/2
		}
		s.stopTakes = seconds(0, 4).Draw(t, "stop takes")
		return s
	})
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.SliceOfN(one, 0, 6).Draw(rt, "parts")
		cancelAt := seconds(0, 30).Draw(rt, "cancel at") + second/4
		within := seconds(0, 6).Draw(rt, "stop within")
		j, took, err := play(t, parts, cancelAt, within)
		fail := func(format string, args ...any) {
			rt.Fatalf(format+"\n%s\nerror: %v after %v", append(args, j, err, took)...)
		}

		timeout := errors.Is(err, ErrStopTimeout)
		started := 0
		var begin time.Time
		for i := range parts {
			at, ok := j.when("start %d", i)
			if !ok {
				break
			}
			if started != i {
				fail("part %d started though part %d did not", i, started)
			}
			started++
			if i > 0 {
				if before, ok := j.when("ready %d", i-1); parts[i-1].hasReady && (!ok || at.Before(before)) {
					fail("part %d started before part %d was ready", i, i-1)
				}
			} else {
				begin = at
			}
			end, ended := j.when("end %d", i)
			returned, _ := j.when("returned")
			if !timeout && (!ended || end.After(returned)) {
				fail("part %d outlived the group", i)
			}
			stop, stopped := j.when("stop %d", i)
			if _, failed := j.when("fail %d", i); !stopped && !failed {
				fail("part %d was never told to stop", i)
			}
			if i+1 < len(parts) && stopped && !timeout {
				if later, ok := j.when("end %d", i+1); ok && later.After(stop) {
					fail("part %d was stopped before part %d had ended", i, i+1)
				}
			}
		}
		_, ready := j.when("all ready")
		if ready && started != len(parts) {
			fail("all are ready and only %d were started", started)
		}

		// The first failure before the cancellation is what is returned.
		var first error
		firstAt := begin.Add(cancelAt)
		for i := range started {
			for what, e := range map[string]error{"fail %d": errBroke, "unready %d": errUnfit} {
				if at, ok := j.when(what, i); ok && at.Before(firstAt) {
					if _, stopping := j.when("stop %d", started-1); stopping {
						if s, _ := j.when("stop %d", started-1); s.Before(at) {
							continue // it was being stopped already
						}
					}
					first, firstAt = e, at
				}
			}
		}
		if first != nil && !errors.Is(err, first) {
			fail("the first failure was %v", first)
		}
		if first == nil && err != nil && !timeout {
			fail("nothing failed")
		}
		if within > 0 && !timeout && first == nil && took > cancelAt+within {
			fail("it took longer than it may")
		}
	})
}
