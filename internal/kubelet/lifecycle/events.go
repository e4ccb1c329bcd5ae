package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// The methods of this file tell a State what happened.

// SandboxUp reports a sandbox that takes containers.
func (s *State) SandboxUp(id string, attempt uint32, ips []string) {
	s.Sandbox.Task.succeed()
	s.Sandbox.ID, s.Sandbox.Attempt, s.Sandbox.IPs, s.Sandbox.Dead = id, attempt, ips, false
	for _, c := range s.Containers {
		c.Start.RetryAt = time.Time{} // what failed in the last one may do in this
	}
}

// SandboxFailed reports that no sandbox could be made.
func (s *State) SandboxFailed(now time.Time, message string) {
	s.Sandbox.fail(now, sandboxRetry, "FailedCreatePodSandBox", message)
}

// SandboxDown reports that the sandbox of that id cannot be used any more.
func (s *State) SandboxDown(id string) {
	if s.Sandbox.ID == id && !s.Sandbox.Busy {
		s.Sandbox.Dead = true
		s.Sandbox.Done = false
	}
}

// VolumesUp reports that all volumes are there; renew is when their content
// must be written again, or zero.
func (s *State) VolumesUp(renew time.Time) {
	s.Volumes.succeed()
	s.VolumesAt = renew
}

// VolumesFailed reports a failed set-up. Volumes that were up before stay up:
// only their renewal failed.
func (s *State) VolumesFailed(now time.Time, wereUp bool, message string) {
	if wereUp {
		s.Volumes.Busy, s.Volumes.Done = false, true
		s.VolumesAt = now.Add(volumeRetry.delay(s.Volumes.Failures))
		s.Volumes.Failures++
		return
	}
	s.Volumes.fail(now, volumeRetry, "FailedMount", message)
}

// SourcesChanged reports that a ConfigMap, Secret or field that the pod reads
// has changed: volumes are renewed and what failed is tried at once.
func (s *State) SourcesChanged() {
	s.VolumesStale = true
	s.Volumes.RetryAt = time.Time{}
	for _, c := range s.Containers {
		c.Start.RetryAt = time.Time{}
	}
}

// ImageUp reports the image a container will run.
func (s *State) ImageUp(c *Container, ref string) {
	c.Image.succeed()
	c.ImageRef = ref
}

// ImageFailed reports why a container has no image.
func (s *State) ImageFailed(now time.Time, c *Container, reason, message string) {
	c.Image.fail(now, imageRetry, reason, message)
	c.failedAt = now
}

// ContainerUp reports a container that this State asked for and that started.
func (s *State) ContainerUp(c *Container, i *Instance) {
	c.Start.succeed()
	c.Start.Done = false
	s.Observe(c.Name, i)
}

// StartFailed reports that no container could be made or started. i is what is
// left of the attempt, or nil.
func (s *State) StartFailed(now time.Time, c *Container, i *Instance, reason, message string) {
	if i != nil {
		s.Observe(c.Name, i)
	} else {
		c.crashes = c.before
	}
	c.Start.fail(now, createRetry, reason, message)
	if i != nil && i.Phase == Exited {
		// It counts as a crash, whose back-off rules.
		c.Start.RetryAt = time.Time{}
	}
}

// Observe reports a run of a container, newer or older than what is known.
func (s *State) Observe(name string, i *Instance) {
	c := s.Container(name)
	if c == nil {
		return
	}
	switch {
	case c.Cur == nil || i.Attempt > c.Cur.Attempt || (i.Attempt == c.Cur.Attempt && i.ID != c.Cur.ID && i.CreatedAt.After(c.Cur.CreatedAt)):
		if c.Cur != nil {
			if c.Last != nil && c.Last.ID != "" {
				s.garbage = append(s.garbage, c.Last.ID)
			}
			c.Last = c.Cur
		}
		c.Cur = i
		c.PostStart, c.Stop = HookNone, Stopping{}
		for _, p := range c.Probes {
			p.reset(i.StartedAt)
		}
		c.Restarts = max(c.Restarts, i.Attempt)
	case i.ID == c.Cur.ID:
		if i.Phase < c.Cur.Phase {
			return
		}
		if i.Phase == Running && c.Cur.Phase == Created {
			for _, p := range c.Probes {
				p.reset(i.StartedAt)
			}
		}
		c.Cur = i
	case c.Last == nil || i.ID == c.Last.ID:
		c.Last = i
	case i.Attempt > c.Last.Attempt:
		s.garbage = append(s.garbage, c.Last.ID)
		c.Last = i
	}
	if c.Cur.Phase == Exited {
		c.Image = Task{}
	}
	if c.running() && c.PostStart == HookNone && (c.Spec.Lifecycle == nil || c.Spec.Lifecycle.PostStart == nil) {
		c.PostStart = HookDone
	}
}

// Adopted marks the running container as one that an earlier agent started:
// its postStart hook is behind it, and its probes stand as last reported.
func (c *Container) Adopted(started, ready bool) {
	if !c.running() {
		return
	}
	c.PostStart = HookDone
	c.Probes[Startup].adopt(started)
	c.Probes[Readiness].adopt(ready)
}

// Given tells what an adopted run was last reported to be given.
func (c *Container) Given(r *v1.ResourceRequirements) {
	if c.running() && r != nil && c.Applied == nil {
		c.Applied = &v1.ResourceRequirements{Limits: r.Limits, Requests: r.Requests}
	}
}

// Removed reports that the runtime has forgotten a run.
func (s *State) Removed(now time.Time, id string) {
	for _, c := range s.Containers {
		if c.Cur != nil && c.Cur.ID == id && c.Cur.Phase != Exited {
			lost := *c.Cur
			lost.Phase, lost.ExitCode, lost.FinishedAt = Exited, 137, now
			lost.Reason = "ContainerStatusUnknown"
			lost.Message = "The container could not be located when the pod was deleted.  The container used to be Running"
			c.Cur = &lost
		}
	}
}

// PostStartDone reports the end of a postStart hook of the run of that id. A
// failure stops the container.
func (s *State) PostStartDone(now time.Time, c *Container, id string, failed bool) {
	if c.Cur == nil || c.Cur.ID != id {
		return
	}
	c.PostStart = HookDone
	if failed && c.running() {
		c.PostStart = HookFailed
		c.stop(now.Add(s.podGrace()), "FailedPostStartHook")
	}
}

// PreStopDone reports the end of a preStop hook.
func (s *State) PreStopDone(now time.Time, c *Container, id string) {
	if c.Cur == nil || c.Cur.ID != id {
		return
	}
	c.Stop.PreStop = HookDone
	if least := now.Add(minStop); c.Stop.By.Before(least) {
		c.Stop.By = least
	}
}

// StopFailed reports that the runtime could not stop a run: it is asked again.
func (s *State) StopFailed(c *Container, id string, sent int) {
	if c.Cur != nil && c.Cur.ID == id && c.Stop.Sent == sent {
		c.Stop.Signalled = false
	}
}

// Probed reports the outcome of one try. It returns whether it counts.
func (s *State) Probed(now time.Time, c *Container, id string, k ProbeKind, r Result) bool {
	p := c.Probes[k]
	if c.Cur == nil || c.Cur.ID != id {
		p.Busy = false
		return false
	}
	startup := !c.Probes[Startup].Passed()
	counts := p.observe(now, r)
	if startup && c.Probes[Startup].Passed() {
		// Readiness is asked for at once rather than a period later.
		for _, k := range [...]ProbeKind{Readiness, Liveness} {
			if q := c.Probes[k]; q.Spec != nil {
				due := c.Cur.StartedAt.Add(time.Duration(q.Spec.InitialDelaySeconds) * time.Second)
				if k == Readiness && due.Before(now) {
					due = now
				}
				q.next, q.first = due, due
			}
		}
	}
	return counts
}

// End gives the pod its verdict; the first one stands.
func (s *State) End(v Verdict) {
	if s.Verdict == nil {
		s.Verdict = &v
	}
}

// TornDown reports the end of Teardown.
func (s *State) TornDown(now time.Time, err string) { settle(&s.Teardown, now, err) }

// Purged reports the end of Purge.
func (s *State) Purged(now time.Time, err string) { settle(&s.Purge, now, err) }

func settle(t *Task, now time.Time, err string) {
	if err == "" {
		t.succeed()
		return
	}
	t.fail(now, teardownRetry, "FailedKillPod", err)
}
