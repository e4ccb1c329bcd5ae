package lifecycle

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
)

// world is a node around one State: it carries actions out, in any order and
// with any outcome, and checks that nothing forbidden is asked for.
type world struct {
	t   *rapid.T
	s   *State
	now time.Time
	// flight are the actions under way.
	flight []Action
	// runs is what the runtime would say, by ID.
	runs     map[string]*truth
	next     int
	sandbox  string // the sandbox that is up, or empty
	torn     bool
	terminal v1.PodPhase
	wake     time.Time
	// calm: everything succeeds from now on.
	calm bool
}

type truth struct {
	name, sandbox string
	attempt       int32
	phase         Phase
	exit          int32
	started       time.Time
	finished      time.Time
}

func genPod(t *rapid.T) *v1.Pod {
	maybe := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	probe := func(name string) *v1.Probe {
		if !maybe(name) {
			return nil
		}
		return &v1.Probe{PeriodSeconds: 1 + int32(rapid.IntRange(0, 4).Draw(t, name+" period")), SuccessThreshold: 1,
			FailureThreshold:    int32(rapid.IntRange(1, 3).Draw(t, name+" threshold")),
			InitialDelaySeconds: int32(rapid.IntRange(0, 5).Draw(t, name+" delay")),
			ProbeHandler:        v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(80)}}}
	}
	container := func(name string, main bool) v1.Container {
		c := v1.Container{Name: name, Image: "img"}
		if main {
			c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = probe(name+" startup"), probe(name+" liveness"), probe(name+" readiness")
			c.Lifecycle = &v1.Lifecycle{}
			if maybe(name + " postStart") {
				c.Lifecycle.PostStart = &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}
			}
			if maybe(name + " preStop") {
				c.Lifecycle.PreStop = &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}
			}
		}
		return c
	}
	grace := int64(rapid.IntRange(0, 30).Draw(t, "grace"))
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: types.UID("u"), Generation: 1},
		Spec: v1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			RestartPolicy: rapid.SampledFrom([]v1.RestartPolicy{
				v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}).Draw(t, "policy"),
		},
	}
	if maybe("deadline") {
		d := int64(rapid.IntRange(1, 100).Draw(t, "deadline seconds"))
		p.Spec.ActiveDeadlineSeconds = &d
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "init") {
		sidecar := maybe("sidecar")
		c := container(fmt.Sprintf("i%d", i), sidecar)
		if sidecar {
			always := v1.ContainerRestartPolicyAlways
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "main") {
		p.Spec.Containers = append(p.Spec.Containers, container(fmt.Sprintf("m%d", i), true))
	}
	return p
}

func newWorld(t *rapid.T) *world {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &world{t: t, now: now, s: New(genPod(t), now), runs: map[string]*truth{}}
	w.s.Admitted = true
	return w
}

func (w *world) running(except string) []string {
	var out []string
	for id, r := range w.runs {
		if r.phase == Running && id != except {
			out = append(out, r.name)
		}
	}
	return out
}

// step lets the State decide, and checks what it wants.
func (w *world) step() {
	d := w.s.Step(w.now)
	for _, a := range d.Actions {
		w.check(a)
		switch a.Do {
		case TellStopping, TellCrash, TellPull, TellDeadline, RemoveContainer:
		case StopContainer:
			// A newer request takes the place of the one before.
			for i, f := range w.flight {
				if f.Do == StopContainer && f.ID == a.ID {
					w.flight = append(w.flight[:i], w.flight[i+1:]...)
					break
				}
			}
			w.flight = append(w.flight, a)
		default:
			w.flight = append(w.flight, a)
		}
	}
	w.wake = d.Wake
	st := w.s.Status(w.now, Host{IPs: []string{"1.2.3.4"}, Runtime: "x"})
	over := st.Phase == v1.PodSucceeded || st.Phase == v1.PodFailed
	if over && len(w.running("")) > 0 {
		w.t.Fatalf("phase %s while %v run", st.Phase, w.running(""))
	}
	if w.terminal != "" && st.Phase != w.terminal {
		w.t.Fatalf("phase went from %s to %s", w.terminal, st.Phase)
	}
	if over {
		w.terminal = st.Phase
	}
	w.s.Pod.Status = st
}

func (w *world) check(a Action) {
	for _, f := range w.flight {
		if f.Do == a.Do && f.Container == a.Container && f.Probe == a.Probe && f.ID == a.ID && a.Do != StopContainer {
			w.t.Fatalf("action %d for %v twice at once", a.Do, a.Container)
		}
	}
	if w.torn && a.Do != Purge && a.Do != RemoveContainer {
		w.t.Fatalf("action %d after the tear-down", a.Do)
	}
	switch a.Do {
	case StartContainer:
		if w.s.Ending() {
			w.t.Fatal("a container starts in an ending pod")
		}
		if w.sandbox == "" || w.s.Sandbox.ID != w.sandbox && !w.s.Sandbox.Dead || !w.s.Volumes.Done {
			w.t.Fatalf("%s starts without a sandbox or volumes", a.Container.Name)
		}
		for _, r := range w.runs {
			if r.name == a.Container.Name && r.phase == Running && r.sandbox == w.sandbox {
				w.t.Fatalf("%s starts while it runs", r.name)
			}
			if r.name == a.Container.Name && r.attempt >= int32(a.Attempt) {
				w.t.Fatalf("%s: attempt %d again", r.name, a.Attempt)
			}
		}
		if a.Container.Kind == Main && !w.s.past() {
			for _, c := range w.s.Containers {
				if (c.Kind == Init || c.Kind == Sidecar) && !w.s.through(c) {
					w.t.Fatalf("%s starts before init container %s", a.Container.Name, c.Name)
				}
			}
		}
	case TearDown:
		if r := w.running(""); len(r) > 0 {
			w.t.Fatalf("tear-down while %v run", r)
		}
		for _, f := range w.flight {
			if f.Do == StartContainer || f.Do == RunSandbox || f.Do == SetUpVolumes {
				w.t.Fatalf("tear-down during action %d", f.Do)
			}
		}
	case Purge:
		if !w.torn {
			w.t.Fatal("purge before tear-down")
		}
	case RunSandbox:
		if w.sandbox != "" {
			w.t.Fatal("a second sandbox")
		}
	}
}

func (w *world) instance(id string) *Instance {
	r := w.runs[id]
	return &Instance{ID: id, SandboxID: r.sandbox, Attempt: r.attempt, Phase: r.phase, ExitCode: r.exit,
		CreatedAt: r.started, StartedAt: r.started, FinishedAt: r.finished, Hash: "img"}
}

func (w *world) fails(name string) bool {
	return !w.calm && rapid.IntRange(0, 4).Draw(w.t, name+" fails") == 0
}

// exit ends a run in the runtime, and tells of it.
func (w *world) exit(id string, code int32) {
	r := w.runs[id]
	if r == nil || r.phase == Exited {
		return
	}
	r.phase, r.exit, r.finished = Exited, code, w.now
	w.s.Observe(r.name, w.instance(id))
}

// complete ends one action that is under way.
func (w *world) complete(i int) {
	a := w.flight[i]
	w.flight = append(w.flight[:i], w.flight[i+1:]...)
	s := w.s
	switch a.Do {
	case SetUpVolumes:
		if w.fails("volumes") {
			s.VolumesFailed(w.now, s.Volumes.Done, "no")
		} else {
			s.VolumesUp(time.Time{})
		}
	case RunSandbox:
		if w.fails("sandbox") {
			s.SandboxFailed(w.now, "no")
			return
		}
		w.next++
		w.sandbox = fmt.Sprintf("s%d", w.next)
		s.SandboxUp(w.sandbox, a.Attempt, []string{"10.0.0.1"})
	case PullImage:
		if w.fails("pull") {
			s.ImageFailed(w.now, a.Container, "ErrImagePull", "no")
		} else {
			s.ImageUp(a.Container, "ref")
		}
	case StartContainer:
		if w.sandbox == "" || w.fails("create") {
			s.StartFailed(w.now, a.Container, nil, "CreateContainerError", "no")
			return
		}
		w.next++
		id := fmt.Sprintf("c%d", w.next)
		w.runs[id] = &truth{name: a.Container.Name, sandbox: w.sandbox, attempt: int32(a.Attempt), phase: Running, started: w.now}
		if w.fails("start") {
			w.runs[id].phase, w.runs[id].exit, w.runs[id].finished = Exited, 128, w.now
			s.StartFailed(w.now, a.Container, w.instance(id), "RunContainerError", "no")
			return
		}
		if rapid.Bool().Draw(w.t, "event first") {
			s.Observe(a.Container.Name, w.instance(id))
		}
		s.ContainerUp(a.Container, w.instance(id))
	case RunPostStart:
		s.PostStartDone(w.now, a.Container, a.ID, w.fails("postStart"))
	case RunPreStop:
		s.PreStopDone(w.now, a.Container, a.ID)
	case StopContainer:
		if w.fails("stop") {
			s.StopFailed(a.Container, a.ID, a.Sent)
			return
		}
		w.exit(a.ID, 143)
	case RunProbe:
		r := Success
		if w.fails("probe") {
			r = rapid.SampledFrom([]Result{Failure, Refused}).Draw(w.t, "how")
		}
		s.Probed(w.now, a.Container, a.ID, a.Probe, r)
	case TearDown:
		if w.fails("tear-down") {
			s.TornDown(w.now, "no")
			return
		}
		w.torn, w.sandbox = true, ""
		s.TornDown(w.now, "")
	case Purge:
		if w.fails("purge") {
			s.Purged(w.now, "no")
			return
		}
		s.Purged(w.now, "")
	}
}

// advance moves the clock to when the State wants to be called.
func (w *world) advance() bool {
	if w.wake.IsZero() {
		return false
	}
	if !w.wake.After(w.now) {
		w.t.Fatalf("wake-up at %v is not ahead of %v", w.wake, w.now)
	}
	w.now = w.wake
	return true
}

// disturb does something that nobody asked for.
func (w *world) disturb() {
	switch rapid.IntRange(0, 9).Draw(w.t, "disturb") {
	case 0, 1, 2, 3:
		for _, id := range w.ids() {
			if r := w.runs[id]; r.phase == Running {
				w.exit(id, rapid.SampledFrom([]int32{0, 0, 1}).Draw(w.t, "exit"))
				return
			}
		}
	case 4:
		if w.sandbox != "" && !w.torn {
			dead := w.sandbox
			w.sandbox = ""
			for id, r := range w.runs {
				if r.sandbox == dead {
					w.exit(id, 137)
				}
			}
			w.s.SandboxDown(dead)
		}
	case 5:
		w.s.SourcesChanged()
	case 6:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 60).Draw(w.t, "pass")) * time.Second)
	}
}

func (w *world) ids() []string {
	var out []string
	for i := range w.next + 1 {
		if id := fmt.Sprintf("c%d", i); w.runs[id] != nil {
			out = append(out, id)
		}
	}
	return out
}

func (w *world) remove() {
	p := *w.s.Pod
	now := metav1.NewTime(w.now)
	grace := int64(rapid.IntRange(0, 30).Draw(w.t, "deletion grace"))
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
	w.s.SetPod(&p)
}

// TestAnyOrder: whatever happens in whatever order, nothing forbidden is asked
// for, and a deleted pod always comes to its end.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 80).Draw(t, "events") {
			w.step()
			switch n := rapid.IntRange(0, 5).Draw(t, "event"); {
			case n <= 3 && len(w.flight) > 0:
				w.complete(rapid.IntRange(0, len(w.flight)-1).Draw(t, "which"))
			case n == 4:
				w.disturb()
			default:
				w.advance()
			}
		}
		w.remove()
		w.calm = true
		for range 500 {
			w.step()
			if len(w.flight) > 0 {
				w.complete(0)
				continue
			}
			if w.s.Released() {
				w.s.Gone = true
			}
			if w.s.Finished() {
				return
			}
			if !w.advance() && !w.s.Released() {
				t.Fatalf("stuck: %+v", w.s)
			}
		}
		t.Fatalf("a deleted pod does not end: %+v", w.s)
	})
}

// TestSettles: a pod whose every step succeeds comes to run and be ready, or,
// once its containers have ended well, to succeed.
func TestSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.calm = true
		w.s.Pod.Spec.ActiveDeadlineSeconds = nil
		for range 300 {
			w.step()
			if len(w.flight) > 0 {
				w.complete(rapid.IntRange(0, len(w.flight)-1).Draw(t, "which"))
				continue
			}
			ended := false
			for _, id := range w.ids() {
				// Init containers end well.
				r := w.runs[id]
				if c := w.s.Container(r.name); c.Kind == Init && r.phase == Running {
					w.exit(id, 0)
					ended = true
				}
			}
			ready := false
			for _, c := range w.s.Pod.Status.Conditions {
				ready = ready || c.Type == v1.PodReady && c.Status == v1.ConditionTrue
			}
			if ready {
				if w.s.Pod.Status.Phase != v1.PodRunning {
					t.Fatalf("ready in phase %s", w.s.Pod.Status.Phase)
				}
				return
			}
			if !ended && !w.advance() {
				t.Fatalf("stuck: %+v", w.s)
			}
		}
		t.Fatal("never ready")
	})
}
