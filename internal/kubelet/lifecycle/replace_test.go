package lifecycle

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A run that ended for another definition is followed at once, however often
// the container crashed before, and its end is no news of its own.
func TestReplaced(t *testing.T) {
	now := time.Unix(1e9, 0)
	pod := func(image string) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1.PodSpec{
			RestartPolicy: v1.RestartPolicyAlways, Containers: []v1.Container{{Name: "c", Image: image}}}}
	}
	s := New(pod("img:1"), now)
	s.Admitted = true
	if got := s.QuietUntil(now); !got.Equal(now.Add(quietFor)) {
		t.Errorf("new pod: quiet until %v", got)
	}
	s.SandboxUp("box", 0, nil)
	s.VolumesUp(time.Time{})
	c := s.Container("c")
	attempt := int32(0)
	begin := func() {
		t.Helper()
		s.ImageUp(c, "sha")
		for _, a := range s.Step(now).Actions {
			if a.Do == StartContainer {
				s.ContainerUp(c, &Instance{ID: string(rune('a' + attempt)), SandboxID: "box", Attempt: attempt, Phase: Running,
					StartedAt: now, Image: c.Spec.Image, Hash: c.Hash})
				attempt++
				return
			}
		}
		t.Fatalf("run %d is not started", attempt)
	}
	end := func() {
		now = now.Add(time.Second)
		i := *c.Cur
		i.Phase, i.FinishedAt, i.ExitCode = Exited, now, 1
		s.Observe("c", &i)
	}
	begin()
	end()
	begin()
	end()
	if s.CrashBackOff(now, c) == 0 {
		t.Fatal("a second crash is followed at once")
	}
	if !s.QuietUntil(now).IsZero() {
		t.Error("a crash is held back")
	}
	s.SetPod(pod("img:2"))
	begin()
	if !s.QuietUntil(now).IsZero() {
		t.Error("a start is held back")
	}
	s.SetPod(pod("img:3"))
	end()
	if got := s.QuietUntil(now); !got.Equal(now.Add(quietFor)) {
		t.Errorf("replaced: quiet until %v", got)
	}
	begin()
	end()
	if got := s.CrashBackOff(now, c); got != crashRetry.first {
		t.Errorf("the new definition's first crashes: back-off %v", got)
	}
}
