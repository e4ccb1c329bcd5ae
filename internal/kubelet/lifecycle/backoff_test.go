package lifecycle

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// starting steps the State and returns whether it wants the container started.
func starting(s *State, now time.Time) bool {
	for _, a := range s.Step(now).Actions {
		switch a.Do {
		case PullImage:
			s.ImageUp(a.Container, "ref")
			return starting(s, now)
		case StartContainer:
			return true
		}
	}
	return false
}

// TestBackOff: at once, 10 s, 20 s up to 5 minutes; a start that came to
// nothing does not lengthen it; ten quiet minutes end it.
func TestBackOff(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways, Containers: []v1.Container{{Name: "c", Image: "i"}}}}
	s := New(pod, now)
	s.Admitted = true
	s.Step(now)
	c := s.Container("c")
	s.VolumesUp(time.Time{})
	s.SandboxUp("s", 0, nil)
	s.ImageUp(c, "ref")
	attempt := int32(0)
	run := func(lasts time.Duration) { // the start under way succeeds, and ends
		i := Instance{ID: string(rune('a' + attempt)), SandboxID: "s", Attempt: attempt, Phase: Running, CreatedAt: now, StartedAt: now}
		attempt++
		s.ContainerUp(c, &i)
		now = now.Add(lasts)
		over := i
		over.Phase, over.ExitCode, over.FinishedAt = Exited, 1, now
		s.Observe("c", &over)
	}
	waits := func(want time.Duration) {
		t.Helper()
		if want > 0 && starting(s, now.Add(want-time.Second)) {
			t.Fatalf("run %d starts before %v", attempt, want)
		}
		now = now.Add(want)
		if !starting(s, now) {
			t.Fatalf("run %d does not start after %v", attempt, want)
		}
	}
	waits(0)
	for _, seconds := range []time.Duration{0, 10, 20, 40, 80, 160, 300, 300} {
		run(time.Second)
		waits(seconds * time.Second)
	}
	run(11 * time.Minute)
	waits(0)
	run(time.Second)
	waits(10 * time.Second)
	// The sandbox was gone: no run came of it, so the next try, in a new one,
	// does not wait.
	s.StartFailed(now, c, nil, "CreateContainerError", "sandbox not found")
	s.SandboxDown("s")
	s.Step(now)
	s.SandboxUp("t", 1, nil)
	waits(0)
}
