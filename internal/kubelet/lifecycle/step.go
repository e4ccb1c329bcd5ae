package lifecycle

import (
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Verb is what an action does.
type Verb int

const (
	// SetUpVolumes makes the volumes, or renews what they show.
	SetUpVolumes Verb = iota
	// RunSandbox makes a sandbox; the one of State.Sandbox.ID, if any, is dead
	// and to be stopped first.
	RunSandbox
	// PullImage makes sure that the container's image is there.
	PullImage
	// StartContainer creates and starts the container's next run.
	StartContainer
	RunPostStart
	RunPreStop
	// StopContainer asks the runtime to stop a run within Action.Grace; an
	// earlier request for the same run is superseded.
	StopContainer
	RunProbe
	// ResizeContainer gives a run the resources of the spec.
	ResizeContainer
	// RemoveContainer forgets the run Action.ID.
	RemoveContainer
	// TearDown stops the sandbox and takes the volumes away.
	TearDown
	// Purge removes all that the runtime and the node keep of the pod.
	Purge
	// TellStopping, TellCrash and TellPull only announce: an event is due.
	TellStopping
	TellCrash
	TellPull
	TellDeadline
)

// Action is one thing to do. Container is nil for those about the pod.
type Action struct {
	Do        Verb
	Container *Container
	// ID of the run that is meant.
	ID    string
	Grace time.Duration
	Probe ProbeKind
	// Attempt of a new run or sandbox.
	Attempt uint32
	// Sent tells apart the StopContainer requests of one run.
	Sent int
	Text string
}

// Decision is what Step wants.
type Decision struct {
	Actions []Action
	// Wake is when Step is due again though nothing happened; zero is never.
	Wake time.Time
}

func (d *Decision) add(a Action) { d.Actions = append(d.Actions, a) }

func (d *Decision) wake(t time.Time) {
	if !t.IsZero() && (d.Wake.IsZero() || t.Before(d.Wake)) {
		d.Wake = t
	}
}

// Step decides what is to be done now.
func (s *State) Step(now time.Time) Decision {
	var d Decision
	if !s.Ending() {
		s.judge(now, &d)
	}
	if s.Ending() {
		s.end(now, &d)
	} else if s.Admitted {
		s.advance(now, &d)
	}
	for _, id := range s.garbage {
		d.add(Action{Do: RemoveContainer, ID: id})
	}
	s.garbage = nil
	for _, c := range s.Containers {
		s.probe(now, c, &d)
	}
	return d
}

// judge gives the verdict that follows from time and from the containers.
func (s *State) judge(now time.Time, d *Decision) {
	if limit := s.Pod.Spec.ActiveDeadlineSeconds; limit != nil {
		at := s.StartTime.Add(time.Duration(*limit) * time.Second)
		if !at.After(now) {
			const text = "Pod was active on the node longer than the specified deadline"
			s.End(Verdict{Phase: v1.PodFailed, Reason: "DeadlineExceeded", Message: text})
			d.add(Action{Do: TellDeadline, Text: text})
			return
		}
		d.wake(at)
	}
	if phase := s.outcome(); phase != "" {
		s.End(Verdict{Phase: phase})
	}
}

// outcome is the pod's terminal phase once no container will run again, or "".
func (s *State) outcome() v1.PodPhase {
	failed, seen := false, false
	for _, c := range s.Containers {
		switch {
		case c.Kind == Init && c.Cur != nil && c.Cur.Phase == Exited && c.Cur.ExitCode != 0 && !s.restarts(c) && !c.Start.Busy:
			return v1.PodFailed
		case c.Kind != Main:
		case c.Cur == nil || c.Cur.Phase != Exited || c.Start.Busy || s.restarts(c):
			return ""
		default:
			seen = true
			failed = failed || c.Cur.ExitCode != 0
		}
	}
	switch {
	case !seen:
		return ""
	case failed:
		return v1.PodFailed
	}
	return v1.PodSucceeded
}

// restarts tells whether the exited newest run is to be followed by another.
func (s *State) restarts(c *Container) bool {
	if c.Kind == Sidecar {
		return true
	}
	if c.Kind == Ephemeral {
		return false
	}
	exit := c.Cur.ExitCode
	if c.Kind == Init && exit == 0 {
		return false
	}
	for _, r := range c.Spec.RestartPolicyRules {
		if r.Action == v1.ContainerRestartRuleActionRestart && r.ExitCodes != nil &&
			slices.Contains(r.ExitCodes.Values, exit) == (r.ExitCodes.Operator == v1.ContainerRestartRuleOnExitCodesOpIn) {
			return true
		}
	}
	policy := v1.ContainerRestartPolicy(s.Pod.Spec.RestartPolicy)
	if c.Spec.RestartPolicy != nil {
		policy = *c.Spec.RestartPolicy
	}
	switch policy {
	case v1.ContainerRestartPolicyNever:
		return false
	case v1.ContainerRestartPolicyOnFailure:
		return exit != 0
	}
	return true
}

// advance brings a pod that is meant to run closer to that.
func (s *State) advance(now time.Time, d *Decision) {
	s.volumes(now, d)
	if !s.Sandbox.Done {
		if s.Sandbox.due(now) {
			attempt := s.Sandbox.Attempt
			if s.Sandbox.ID != "" {
				attempt++
			}
			s.Sandbox.begin()
			d.add(Action{Do: RunSandbox, ID: s.Sandbox.ID, Attempt: attempt})
		} else if !s.Sandbox.Busy {
			d.wake(s.Sandbox.RetryAt)
		}
	}

	hold := false
	for _, c := range s.turn() {
		s.keep(now, c, d, hold)
		// A container after one with a postStart hook waits for the hook, as
		// people rely on to hold an application back until its proxy is up.
		if c.Kind == Main && c.Spec.Lifecycle != nil && c.Spec.Lifecycle.PostStart != nil {
			first := c.Cur == nil && c.Start.Failures == 0 && c.Image.Failures == 0
			if first || c.Start.Busy || (c.running() && c.PostStart < HookDone) {
				hold = true
			}
		}
	}
	for _, c := range s.Containers {
		if c.running() && c.PostStart == HookNone {
			c.PostStart = HookRunning
			d.add(Action{Do: RunPostStart, Container: c, ID: c.Cur.ID})
		}
		if !c.running() {
			continue
		}
		s.judgeRun(now, c)
		s.resize(now, c, d)
		s.stopping(now, c, true, d)
	}
}

func (s *State) volumes(now time.Time, d *Decision) {
	if s.Volumes.Busy {
		return
	}
	renew := s.VolumesStale || s.Volumes.Done && !s.VolumesAt.IsZero() && !s.VolumesAt.After(now)
	if s.Volumes.due(now) || renew {
		s.Volumes.begin()
		s.VolumesStale = false
		d.add(Action{Do: SetUpVolumes})
		return
	}
	if s.Volumes.Done {
		d.wake(s.VolumesAt)
	} else {
		d.wake(s.Volumes.RetryAt)
	}
}

// turn lists the containers that may run by now: the init containers up to the
// first that is not through, and all others once there is none such.
func (s *State) turn() []*Container {
	for i, c := range s.Containers {
		if c.Kind != Init && c.Kind != Sidecar {
			continue
		}
		if !s.past() && !s.through(c) {
			list := slices.Clone(s.Containers[:i+1])
			// Those before it that are done need nothing.
			return slices.DeleteFunc(list, func(c *Container) bool { return c.Kind == Init && s.through(c) })
		}
	}
	var list []*Container
	for _, c := range s.Containers {
		if c.Kind != Init {
			list = append(list, c)
		}
	}
	return list
}

// through tells whether an init container lets the next one start.
func (s *State) through(c *Container) bool {
	if c.Kind == Sidecar {
		return c.Started()
	}
	return c.Cur != nil && c.Cur.Phase == Exited && c.Cur.ExitCode == 0 && s.here(c.Cur)
}

// here tells whether a run belongs to the present sandbox: what ran in an
// earlier one counts only as history.
func (s *State) here(i *Instance) bool { return s.Sandbox.Done && i.SandboxID == s.Sandbox.ID }

// past tells whether a main container ever ran in this sandbox: then the init
// containers are behind it, whatever became of their records.
func (s *State) past() bool {
	for _, c := range s.Containers {
		if c.Kind == Main && c.Cur != nil && s.here(c.Cur) {
			return true
		}
	}
	return false
}

// wants tells whether the container is to be started, and from when on.
func (s *State) wants(c *Container) (from time.Time, ok bool) {
	if c.Start.Busy || c.running() {
		return time.Time{}, false
	}
	from = c.Start.RetryAt
	if c.Cur == nil || c.Cur.Phase == Created {
		// Created and left alone: the agent was stopped in between.
		return from, true
	}
	if again := s.restarts(c) || c.Kind == Init && !s.here(c.Cur); !again {
		return time.Time{}, false
	}
	if at := c.crashed(); at.After(from) {
		from = at
	}
	return from, true
}

// keep takes the next step towards a running container.
func (s *State) keep(now time.Time, c *Container, d *Decision, hold bool) {
	from, ok := s.wants(c)
	if !ok {
		return
	}
	if from.After(now) {
		d.wake(from)
		if c.Cur != nil && c.Cur.Phase == Exited && c.told != c.Cur.ID && c.crashed().After(now) {
			c.told = c.Cur.ID
			d.add(Action{Do: TellCrash, Container: c})
		}
		return
	}
	if !c.Image.Done {
		s.image(now, c, d)
		return
	}
	// A renewal of volumes that are there holds nothing up.
	if hold || !s.Sandbox.Done || !s.Volumes.Done {
		return
	}
	attempt := uint32(0)
	c.before = c.crashes
	if c.Cur != nil {
		attempt = uint32(max(c.Cur.Attempt, c.Restarts)) + 1
		if c.Cur.Phase == Exited {
			c.crash(now)
		}
	}
	c.Start.begin()
	c.Resize = Task{}
	given := c.Spec.Resources
	c.Applied = &given
	d.add(Action{Do: StartContainer, Container: c, Attempt: attempt})
}

func (s *State) image(now time.Time, c *Container, d *Decision) {
	switch {
	case c.Image.due(now):
		c.Image.begin()
		d.add(Action{Do: PullImage, Container: c})
	case c.Image.Busy:
	case c.PullBackOff(now):
		d.wake(c.Image.RetryAt)
		if c.told != "image" {
			c.told = "image"
			d.add(Action{Do: TellPull, Container: c})
		}
	default:
		c.told = ""
		d.wake(c.failedAt.Add(errorShown))
	}
}

// PullBackOff tells whether a failed pull waits for its next try, the error
// itself having been shown for a while.
func (c *Container) PullBackOff(now time.Time) bool {
	return !c.Image.Done && c.Image.Reason == "ErrImagePull" && c.Image.RetryAt.After(now) && !c.failedAt.Add(errorShown).After(now)
}

// crashed is when the exited newest run may be followed by another.
func (c *Container) crashed() time.Time {
	if c.calm() {
		return time.Time{}
	}
	return c.Cur.FinishedAt.Add(c.crashes.delay)
}

// crash lengthens the back-off: the first restart is at once, the second 10 s
// after the exit, and so on; ten quiet minutes, or another definition, start it
// over.
func (c *Container) crash(now time.Time) {
	delay := min(2*c.crashes.delay, crashRetry.max)
	if c.calm() {
		delay = crashRetry.first
	}
	c.crashes = backOff{delay, now}
}

// calm tells whether the newest run's exit belongs to no back-off that was
// begun before.
func (c *Container) calm() bool {
	return c.crashes.delay == 0 || c.outdated() || c.Cur.FinishedAt.Sub(c.crashes.updated) > 2*crashRetry.max
}

// CrashBackOff tells how long the container waits after its crashes, or 0.
func (s *State) CrashBackOff(now time.Time, c *Container) time.Duration {
	if c.Cur == nil || c.Cur.Phase != Exited || s.Ending() {
		return 0
	}
	if from, ok := s.wants(c); !ok || !from.After(now) || !c.crashed().After(now) {
		return 0
	}
	return c.crashes.delay
}

// judgeRun decides whether a run must be replaced though the pod goes on.
func (s *State) judgeRun(now time.Time, c *Container) {
	if !c.running() || !c.Stop.By.IsZero() || c.Kind == Ephemeral {
		return
	}
	for _, k := range [...]ProbeKind{Startup, Liveness} {
		p := c.Probes[k]
		if !p.Failed() {
			continue
		}
		grace := s.podGrace()
		if g := p.Spec.TerminationGracePeriodSeconds; g != nil {
			grace = time.Duration(*g) * time.Second
		}
		what := [...]string{"startup", "liveness"}[k]
		c.stop(now.Add(grace), fmt.Sprintf("Container %s failed %s probe, will be restarted", c.Name, what))
		return
	}
	if c.outdated() {
		c.stop(now.Add(s.podGrace()), fmt.Sprintf("Container %s definition changed, will be restarted", c.Name))
	}
}

// stop asks for the end of the newest run.
func (c *Container) stop(by time.Time, why string) {
	if c.Stop.By.IsZero() {
		c.Stop.By, c.Stop.Why = by, why
	}
}

// stopping carries on with the stop of a run. turn is false while the run must
// outlive others; its preStop hook does not wait for that.
func (s *State) stopping(now time.Time, c *Container, turn bool, d *Decision) {
	st := &c.Stop
	// A start is waited for: it is about to end, and is told before the stop.
	if st.By.IsZero() || !c.running() || c.Start.Busy {
		return
	}
	left := st.By.Sub(now)
	if st.PreStop == HookNone {
		d.add(Action{Do: TellStopping, Container: c, Text: st.Why})
		st.PreStop = HookDone
		if c.running() && left > 0 && c.Spec.Lifecycle != nil && c.Spec.Lifecycle.PreStop != nil {
			st.PreStop = HookRunning
			d.add(Action{Do: RunPreStop, Container: c, ID: c.Cur.ID, Grace: left})
		}
	}
	if left > 0 && (st.PreStop == HookRunning || !turn) {
		d.wake(st.By)
		return
	}
	if st.Signalled && !st.By.Before(st.Asked) {
		return
	}
	st.Signalled, st.Asked = true, st.By
	st.Sent++
	d.add(Action{Do: StopContainer, Container: c, ID: c.Cur.ID, Grace: max(left, 0), Sent: st.Sent})
}

// podGrace is how long the pod's containers may take to stop.
func (s *State) podGrace() time.Duration {
	grace := defaultGrace
	if g := s.Pod.Spec.TerminationGracePeriodSeconds; g != nil {
		grace = time.Duration(*g) * time.Second
	}
	if g := s.Pod.DeletionGracePeriodSeconds; g != nil && s.Deleted() {
		grace = time.Duration(*g) * time.Second
	} else if s.Verdict != nil && s.Verdict.Grace != nil {
		grace = *s.Verdict.Grace
	}
	return max(grace, time.Second)
}

// end brings an ending pod closer to its end.
func (s *State) end(now time.Time, d *Decision) {
	if grace := s.podGrace(); s.killBy.IsZero() || grace < s.grace {
		by := now.Add(grace)
		if s.killBy.IsZero() || by.Before(s.killBy) {
			s.killBy = by
		}
		s.grace = grace
	}

	busy, live := false, 0
	for _, c := range s.Containers {
		busy = busy || c.Start.Busy || c.Image.Busy
		if c.running() && c.Kind != Sidecar {
			live++
		}
	}
	// Sidecars outlive the rest, and stop in reverse order.
	for i := len(s.Containers) - 1; i >= 0; i-- {
		c := s.Containers[i]
		if !c.running() {
			continue
		}
		if c.Stop.By.IsZero() {
			c.stop(s.killBy, "Stopping container "+c.Name)
		} else if s.killBy.Before(c.Stop.By) && c.Stop.PreStop != HookDone || s.killBy.Add(minStop).Before(c.Stop.By) {
			c.Stop.By = s.killBy
		}
		s.stopping(now, c, c.Kind != Sidecar || live == 0, d)
		if c.Kind == Sidecar {
			live++
		}
	}
	if busy || live > 0 || s.Sandbox.Busy || s.Volumes.Busy {
		return
	}
	if !s.Teardown.Done {
		if s.Teardown.due(now) {
			s.Teardown.begin()
			d.add(Action{Do: TearDown, ID: s.Sandbox.ID})
		} else if !s.Teardown.Busy {
			d.wake(s.Teardown.RetryAt)
		}
		return
	}
	s.Sandbox.Done = false
	if s.Deleted() && !s.Purge.Done {
		if s.Purge.due(now) {
			s.Purge.begin()
			d.add(Action{Do: Purge})
		} else if !s.Purge.Busy {
			d.wake(s.Purge.RetryAt)
		}
	}
}

// probe starts the tries that are due.
func (s *State) probe(now time.Time, c *Container, d *Decision) {
	if !c.running() || c.Kind == Init || c.Kind == Ephemeral {
		return
	}
	started := c.Probes[Startup].Passed()
	for k, p := range c.Probes {
		kind := ProbeKind(k)
		switch {
		case p.Spec == nil || p.Busy:
			continue
		case kind == Startup && (started || s.Ending() || p.Failed()):
			continue
		case kind == Liveness && (!started || s.Ending() || p.Failed()):
			continue
		case kind == Readiness && !started:
			continue
		}
		if due := p.due(); due.After(now) {
			d.wake(due)
			continue
		}
		p.begin(now)
		d.add(Action{Do: RunProbe, Container: c, ID: c.Cur.ID, Probe: kind})
	}
}
