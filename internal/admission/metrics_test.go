package admission

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	testingclock "k8s.io/utils/clock/testing"
)

// slow is a plugin that takes its time, and rejects what it is told to.
type slow struct {
	clock  *testingclock.FakePassiveClock
	name   string
	takes  time.Duration
	reject bool
}

func (s *slow) Name() string { return s.name }

func (s *slow) Admit(context.Context, *Attributes) error {
	s.clock.SetTime(s.clock.Now().Add(s.takes))
	if s.reject {
		return errors.New("no")
	}
	return nil
}

// looks is a slow one that changes nothing.
type looks struct{ s *slow }

func (l looks) Name() string                                      { return l.s.name }
func (l looks) Validate(ctx context.Context, a *Attributes) error { return l.s.Admit(ctx, a) }

// Each plugin is counted for the operations that it is called for, with how long
// it took and whether it rejected; those after it are not called.
func TestDurations(t *testing.T) {
	clock := testingclock.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	first, last := &slow{clock, "First", 10 * time.Millisecond, false}, &slow{clock, "Last", 200 * time.Millisecond, false}
	c := NewChain(clock, On{first, nil}, On{last, []Operation{Create}}, On{looks{&slow{clock, "Looks", time.Second, false}}, []Operation{Update}})
	pass := func(o Operation, admitted bool) {
		t.Helper()
		a := &Attributes{Operation: o}
		if err := c.Admit(t.Context(), a); (err == nil) != admitted {
			t.Error(o, err)
		}
		if err := c.Validate(t.Context(), a); err != nil {
			t.Error(o, err)
		}
	}
	pass(Create, true)
	pass(Update, true)
	first.reject = true
	pass(Create, false)
	if err := testutil.CollectAndCompare(c.Collector(), strings.NewReader(`
# HELP apiserver_admission_controller_admission_duration_seconds How long a plugin took, by its name, for each step (admit or validate), operation, and whether it was rejected.
# TYPE apiserver_admission_controller_admission_duration_seconds histogram
`+sample("controller", `name="First",operation="CREATE",rejected="false",type="admit"`, "0.01", 0, 1, 1, 1, 1, 1)+
		sample("controller", `name="First",operation="CREATE",rejected="true",type="admit"`, "0.01", 0, 1, 1, 1, 1, 1)+
		sample("controller", `name="First",operation="UPDATE",rejected="false",type="admit"`, "0.01", 0, 1, 1, 1, 1, 1)+
		sample("controller", `name="Last",operation="CREATE",rejected="false",type="admit"`, "0.2", 0, 0, 0, 1, 1, 1)+
		sample("controller", `name="Looks",operation="UPDATE",rejected="false",type="validate"`, "1", 0, 0, 0, 0, 1, 1)+`
# HELP apiserver_admission_step_admission_duration_seconds How long all plugins took, for each step (admit or validate), operation, and whether it was rejected.
# TYPE apiserver_admission_step_admission_duration_seconds histogram
`+sample("step", `operation="CREATE",rejected="false",type="admit"`, "0.21", 0, 0, 0, 1, 1, 1)+
		sample("step", `operation="CREATE",rejected="true",type="admit"`, "0.01", 0, 1, 1, 1, 1, 1)+
		sample("step", `operation="UPDATE",rejected="false",type="admit"`, "0.01", 0, 1, 1, 1, 1, 1)+
		strings.NewReplacer(" 1\n", " 2\n").Replace(sample("step", `operation="CREATE",rejected="false",type="validate"`, "0", 1, 1, 1, 1, 1, 1))+
		sample("step", `operation="UPDATE",rejected="false",type="validate"`, "1", 0, 0, 0, 0, 1, 1),
	)); err != nil {
		t.Error(err)
	}
}

// sample writes a histogram of one value.
func sample(of, labels, sum string, within ...int) string {
	name := "apiserver_admission_" + of + "_admission_duration_seconds"
	var b strings.Builder
	for i, le := range []string{"0.005", "0.025", "0.1", "0.5", "1", "2.5"} {
		b.WriteString(name + "_bucket{" + labels + `,le="` + le + `"} ` + string('0'+rune(within[i])) + "\n")
	}
	b.WriteString(name + "_bucket{" + labels + `,le="+Inf"} 1` + "\n")
	b.WriteString(name + "_sum{" + labels + "} " + sum + "\n" + name + "_count{" + labels + "} 1\n")
	return b.String()
}

// To count allocates nothing.
func TestDurationsAllocate(t *testing.T) {
	clock := testingclock.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := NewChain(clock, On{&slow{clock, "First", 0, false}, nil}, On{looks{&slow{clock, "Looks", 0, false}}, []Operation{Create}})
	a := &Attributes{Operation: Create}
	if n := testing.AllocsPerRun(100, func() { c.Admit(t.Context(), a); c.Validate(t.Context(), a) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
