package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Kind says which of the pod's lists a container is from, and how it behaves.
type Kind int

const (
	// Init runs to its end before the next one starts.
	Init Kind = iota
	// Sidecar is an init container with restartPolicy Always (KEP-753).
	Sidecar
	// Main is one of spec.containers.
	Main
	// Ephemeral is a debugging container: started once, holds nothing up.
	Ephemeral
)

// Phase of one run of a container. It only ever grows.
type Phase int

const (
	Created Phase = iota
	Running
	Exited
)

// Instance is one run of a container, as the runtime tells it. Instances are
// replaced, never changed.
type Instance struct {
	ID, SandboxID                    string
	Attempt                          int32
	Phase                            Phase
	CreatedAt, StartedAt, FinishedAt time.Time
	ExitCode                         int32
	Reason, Message                  string
	// Image is what was asked for, ImageID what runs.
	Image, ImageID string
	// Hash of the parts of the container's spec that a running container
	// cannot follow.
	Hash string
	User *v1.ContainerUser
}

// Task is something that is tried until it succeeds.
type Task struct {
	Busy, Done bool
	// Reason and Message of the last failure.
	Reason, Message string
	Failures        int
	RetryAt         time.Time
}

func (t *Task) due(now time.Time) bool {
	return !t.Busy && !t.Done && !t.RetryAt.After(now)
}

func (t *Task) begin() { t.Busy = true }

func (t *Task) succeed() { *t = Task{Done: true} }

func (t *Task) fail(now time.Time, p retry, reason, message string) {
	t.Busy, t.Done, t.Reason, t.Message = false, false, reason, message
	t.RetryAt = now.Add(p.delay(t.Failures))
	t.Failures++
}

// backOff of a crashing container: its delay, and when it was last doubled.
type backOff struct {
	delay   time.Duration
	updated time.Time
}

// retry is a delay that doubles from first to max.
type retry struct{ first, max time.Duration }

func (r retry) delay(failures int) time.Duration {
	d := r.first
	for range failures {
		if d *= 2; d >= r.max {
			return r.max
		}
	}
	return d
}

var (
	volumeRetry   = retry{500 * time.Millisecond, 2*time.Minute + 2*time.Second}
	sandboxRetry  = retry{time.Second, time.Minute}
	imageRetry    = retry{10 * time.Second, 5 * time.Minute}
	createRetry   = retry{10 * time.Second, 5 * time.Minute}
	teardownRetry = retry{time.Second, time.Minute}
	crashRetry    = retry{10 * time.Second, 5 * time.Minute}
)

const (
	// errorShown is how long ErrImagePull is reported before it turns to ImagePullBackOff.
	errorShown = 2 * time.Second
	// minStop is the least time a container has to stop after its preStop hook.
	minStop = 2 * time.Second
	// defaultGrace is for pods that do not say how long they take to stop.
	defaultGrace = 30 * time.Second
)

// Hook is a lifecycle hook of one run.
type Hook int

const (
	HookNone Hook = iota
	HookRunning
	HookDone
	HookFailed
)

// Stopping says how far the stop of one run is.
type Stopping struct {
	// Why is the event's text, empty when nobody asked.
	Why string
	// By is when the run is killed.
	By      time.Time
	PreStop Hook
	// Signalled: the runtime has been asked to stop it within By.
	Signalled bool
	// Asked is the deadline the runtime was given.
	Asked time.Time
	// Sent counts requests to the runtime, so that a late answer of an
	// earlier one is told apart.
	Sent int
}

// Container is one container of the pod over all its runs.
type Container struct {
	Kind Kind
	Name string
	// Spec points into the pod, or to a form made of an ephemeral container.
	Spec *v1.Container
	// Hash that a new run would carry.
	Hash string
	// Target is the container that an ephemeral one looks into.
	Target string

	// Cur is the newest run, Last the one before, if it exited.
	Cur, Last *Instance
	// Restarts is how often the container was started again.
	Restarts int32

	// Applied are the resources the newest run was given; nil is as specified.
	Applied *v1.ResourceRequirements
	Resize  Task

	Image     Task
	ImageRef  string
	failedAt  time.Time
	Start     Task
	PostStart Hook
	Stop      Stopping
	Probes    [probeKinds]*Probe

	// crashes is the back-off, before what it was until the last start: one
	// that came to nothing does not lengthen it.
	crashes, before backOff
	// told is the run, or failed pull, whose back-off was announced.
	told string
}

// Sandbox is the pod's environment.
type Sandbox struct {
	Task
	ID      string
	Attempt uint32
	IPs     []string
	// Dead: it exists but cannot take containers any more.
	Dead bool
}

// Verdict ends a pod: the node refused it, its deadline passed, it was
// evicted, or it simply finished.
type Verdict struct {
	Phase           v1.PodPhase
	Reason, Message string
	// Condition, if set, is added to the status (DisruptionTarget).
	Condition *v1.PodCondition
	// Grace overrides the pod's grace period.
	Grace *time.Duration
	// Refused: nothing of it was ever started.
	Refused bool
}

// State is all that is known of one pod. It belongs to one goroutine.
type State struct {
	Pod *v1.Pod
	// Gone: the API has no such object any more.
	Gone bool
	// Verdict is nil while the pod is meant to run.
	Verdict *Verdict
	// Admitted: the node lets the pod in. Until then nothing is begun.
	Admitted bool
	// StartTime is when this node first saw the pod.
	StartTime time.Time

	Volumes Task
	// VolumesAt is when the content of volumes must be renewed (tokens).
	VolumesAt time.Time
	// VolumesStale: what the volumes show has changed.
	VolumesStale bool

	Sandbox    Sandbox
	Containers []*Container
	// Pending: the node does not grant the resources now asked for.
	Pending *Pending

	Teardown Task
	Purge    Task

	// killBy is when the last container of an ending pod must be dead, grace
	// the period it was computed from.
	killBy time.Time
	grace  time.Duration
	// garbage are runs that nothing refers to any more.
	garbage []string
}

// New is the state of a pod this node knows nothing of yet.
func New(pod *v1.Pod, now time.Time) *State {
	s := &State{StartTime: now}
	if pod.Status.StartTime != nil {
		s.StartTime = pod.Status.StartTime.Time
	}
	if p := pod.Status.Phase; p == v1.PodSucceeded || p == v1.PodFailed {
		s.Verdict = &Verdict{Phase: p, Reason: pod.Status.Reason, Message: pod.Status.Message}
	}
	s.SetPod(pod)
	return s
}

// SetPod replaces the pod by a newer version of it.
func (s *State) SetPod(pod *v1.Pod) {
	s.Pod = pod
	for i := range s.Pod.Spec.InitContainers {
		c := &s.Pod.Spec.InitContainers[i]
		kind := Init
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			kind = Sidecar
		}
		s.bindOne(kind, c, "")
	}
	for i := range s.Pod.Spec.Containers {
		s.bindOne(Main, &s.Pod.Spec.Containers[i], "")
	}
	for i := range s.Pod.Spec.EphemeralContainers {
		e := &s.Pod.Spec.EphemeralContainers[i]
		c := v1.Container(e.EphemeralContainerCommon)
		s.bindOne(Ephemeral, &c, e.TargetContainerName)
	}
}

func (s *State) bindOne(kind Kind, spec *v1.Container, target string) {
	c := s.Container(spec.Name)
	if c == nil {
		c = &Container{Kind: kind, Name: spec.Name, Target: target}
		for k := range c.Probes {
			c.Probes[k] = &Probe{Kind: ProbeKind(k)}
		}
		s.Containers = append(s.Containers, c)
	}
	c.Spec = spec
	c.Hash = spec.Image
	c.Probes[Startup].Spec = spec.StartupProbe
	c.Probes[Liveness].Spec = spec.LivenessProbe
	c.Probes[Readiness].Spec = spec.ReadinessProbe
}

// Container returns the container of that name, or nil.
func (s *State) Container(name string) *Container {
	for _, c := range s.Containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Deleted tells whether the API asked for the pod's end.
func (s *State) Deleted() bool { return s.Gone || s.Pod.DeletionTimestamp != nil }

// Ending tells whether the pod is to stop, for whatever reason.
func (s *State) Ending() bool { return s.Verdict != nil || s.Deleted() }

// Finished tells whether nothing of the pod is left on the node and the API
// has been told, or no longer asks.
func (s *State) Finished() bool { return s.Gone && s.Purge.Done }

// Released tells whether the API object may go.
func (s *State) Released() bool { return s.Deleted() && s.Teardown.Done }

func (c *Container) running() bool { return c.Cur != nil && c.Cur.Phase == Running }

// outdated tells whether the newest run is of an earlier definition.
func (c *Container) outdated() bool {
	return c.Cur != nil && c.Cur.Hash != "" && c.Cur.Hash != c.Hash
}

// Started is what the API calls started: it runs, its postStart hook is done
// and its startup probe succeeded.
func (c *Container) Started() bool {
	return c.running() && c.PostStart == HookDone && c.Probes[Startup].Passed()
}

// Ready is what the API calls ready.
func (c *Container) Ready() bool {
	switch c.Kind {
	case Init:
		return c.Cur != nil && c.Cur.Phase == Exited && c.Cur.ExitCode == 0
	case Ephemeral:
		return false
	}
	return c.Started() && c.Probes[Readiness].Passed()
}
