package lifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// play runs a probe against outcomes, one letter a try (s success, f failure, r
// refused), and tells when each try was and what the result then is.
func play(kind ProbeKind, spec v1.Probe, outcomes string) string {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := &Probe{Kind: kind, Spec: &spec}
	p.reset(start)
	var out []string
	for _, o := range outcomes {
		now := p.due()
		p.begin(now)
		p.observe(now, map[rune]Result{'s': Success, 'f': Failure, 'r': Refused}[o])
		out = append(out, fmt.Sprintf("%v:%c", now.Sub(start), "?sf"[p.result]))
	}
	return strings.Join(out, " ")
}

func TestProbe(t *testing.T) {
	spec := v1.Probe{InitialDelaySeconds: 3, PeriodSeconds: 10, SuccessThreshold: 2, FailureThreshold: 3}
	for _, c := range []struct {
		kind     ProbeKind
		outcomes string
		want     string
	}{
		{Liveness, "ffsfff", "3s:? 13s:? 23s:? 33s:? 43s:? 53s:f"},
		{Readiness, "sfss", "3s:? 13s:? 23s:? 33s:s"},
		{Readiness, "ssff", "3s:? 13s:s 23s:s 33s:s"},
		{Readiness, "ssfff", "3s:? 13s:s 23s:s 33s:s 43s:f"},
		// Nobody listens at first: asked again soon, and no failure.
		{Startup, "rrrss", "3s:? 3.02s:? 3.06s:? 3.14s:? 13s:s"},
		// Past the first period a refusal is a failure like others.
		{Startup, "rfrrr", "3s:? 3.02s:? 13s:? 23s:f 33s:f"},
		// A server that was ready and listens no more has failed.
		{Readiness, "ssrrr", "3s:? 13s:s 23s:s 33s:s 43s:f"},
		{Liveness, "rrr", "3s:? 13s:? 23s:f"},
	} {
		if got := play(c.kind, spec, c.outcomes); got != c.want {
			t.Errorf("%s %s:\n %s\n want %s", c.kind, c.outcomes, got, c.want)
		}
	}
}

// TestMissedTries: tries whose time has passed are not made up for.
func TestMissedTries(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := &Probe{Spec: &v1.Probe{PeriodSeconds: 10, FailureThreshold: 1, SuccessThreshold: 1}}
	p.reset(start)
	p.begin(start.Add(35 * time.Second))
	if got := p.due().Sub(start); got != 40*time.Second {
		t.Errorf("next at %v", got)
	}
}
