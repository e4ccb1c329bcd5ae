package kubelet

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/podspec"
	"clipper/internal/kubelet/volume"
)

// message changes the state on the actor's goroutine.
type message func(*lifecycle.State)

// actor looks after one pod.
type actor struct {
	k   *Kubelet
	uid types.UID
	// namespace and name of the pod, for those who look it up.
	namespace, name string
	// limited: the pod has directories whose size must be watched.
	limited bool

	state  *lifecycle.State // the actor's goroutine alone
	probes probes           // likewise
	born   time.Time

	mu    sync.Mutex
	inbox []message
	wake  chan struct{}

	// ctx ends with the agent. begin also ends when the pod is to stop: what
	// only serves to start containers is given up.
	ctx       context.Context
	begin     context.Context
	giveUp    context.CancelFunc
	jobs      sync.WaitGroup
	deadline  clock.Timer
	deadlineC <-chan time.Time

	mounts  volume.Mounts // of the last set-up
	sandbox *runtimeapi.PodSandboxConfig
	// stops are the requests under way to stop a run, by its ID.
	stops map[string]context.CancelFunc
	write writer
	// ends are closed when the run of that ID has ended; over with the actor.
	ends map[string]chan struct{}
	over chan struct{}
	// hosts guards the pod's hosts file, which each starting container checks.
	hosts sync.Mutex
}

// writer is the state of the writes to the pod's object: one at a time, the
// newest status wins.
type writer struct {
	busy, deleted bool
	failures      int
	retryAt       time.Time
	// patch and version of the last write that succeeded: it is not repeated
	// while the object stays as it left it.
	patch, version string
}

func newActor(k *Kubelet, s *lifecycle.State) *actor {
	a := &actor{k: k, uid: s.Pod.UID, namespace: s.Pod.Namespace, name: s.Pod.Name, limited: hasSizeLimits(s.Pod), state: s, over: make(chan struct{}), born: k.Clock.Now(), ctx: k.ctx,
		wake: make(chan struct{}, 1), stops: map[string]context.CancelFunc{}}
	a.begin, a.giveUp = context.WithCancel(k.ctx)
	a.wake <- struct{}{}
	return a
}

// post hands a message to the actor. It never blocks.
func (a *actor) post(m message) {
	a.mu.Lock()
	a.inbox = append(a.inbox, m)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// spawn runs f beside the actor and posts the message it returns.
func (a *actor) spawn(f func() message) {
	a.jobs.Add(1)
	go func() {
		defer a.jobs.Done()
		if m := f(); m != nil {
			a.post(m)
		}
	}()
}

func (a *actor) run() {
	defer close(a.over)
	defer a.jobs.Wait()
	defer a.noteEnds(true)
	defer a.giveUp()
	defer func() {
		if a.deadline != nil {
			a.deadline.Stop()
		}
	}()
	a.k.refs.Hold(a.state.Pod, a.sourcesChanged)
	defer a.k.refs.Release(a.uid)
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-a.wake:
		case <-a.deadlineC:
		}
		a.mu.Lock()
		inbox := a.inbox
		a.inbox = nil
		a.mu.Unlock()
		for _, m := range inbox {
			m(a.state)
		}
		if a.step() {
			return
		}
	}
}

// step does what is to be done now; true means the pod is over.
func (a *actor) step() bool {
	now := a.k.Clock.Now()
	d := a.state.Step(now)
	if a.state.Ending() {
		a.giveUp()
	}
	for _, act := range d.Actions {
		a.do(act)
	}
	a.noteEnds(false)
	wake := d.Wake
	if at := a.publish(now); !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
		wake = at
	}
	a.sleepUntil(wake)
	return a.state.Finished()
}

// sleepUntil has the actor woken at a time; zero is never.
func (a *actor) sleepUntil(t time.Time) {
	if a.deadline != nil {
		a.deadline.Stop()
	}
	a.deadlineC = nil
	if t.IsZero() {
		return
	}
	left := t.Sub(a.k.Clock.Now())
	if left <= 0 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
		return
	}
	a.deadline = a.k.Clock.NewTimer(left)
	a.deadlineC = a.deadline.C()
}

func (a *actor) sourcesChanged() {
	a.post(func(s *lifecycle.State) { s.SourcesChanged() })
}

// setPod takes a newer version of the pod; an older one changes nothing.
func (a *actor) setPod(pod *v1.Pod) {
	old := a.state.Pod
	if c, err := resourceversion.CompareResourceVersion(old.ResourceVersion, pod.ResourceVersion); err == nil && c > 0 {
		return
	}
	a.state.SetPod(pod)
	if old.Generation != pod.Generation || len(old.Spec.EphemeralContainers) != len(pod.Spec.EphemeralContainers) {
		a.k.refs.Hold(pod, a.sourcesChanged)
	}
	if old.Generation != pod.Generation {
		a.weighResize()
	}
	if showsItself(pod) && !sameMeta(old, pod) {
		a.state.SourcesChanged()
	}
}

// showsItself tells whether files of the pod show its labels or annotations.
func showsItself(pod *v1.Pod) bool {
	for _, v := range pod.Spec.Volumes {
		if v.DownwardAPI != nil {
			return true
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.DownwardAPI != nil {
					return true
				}
			}
		}
	}
	return false
}

func sameMeta(a, b *v1.Pod) bool {
	same := func(x, y map[string]string) bool {
		if len(x) != len(y) {
			return false
		}
		for k, v := range x {
			if w, ok := y[k]; !ok || v != w {
				return false
			}
		}
		return true
	}
	return same(a.Labels, b.Labels) && same(a.Annotations, b.Annotations)
}

// observe takes over what the runtime says of a run.
func (a *actor) observe(sandbox string, st *runtimeapi.ContainerStatus) {
	_, name := podspec.SpecOf(st.Labels)
	c := a.state.Container(name)
	if c == nil {
		return
	}
	for _, known := range [...]*lifecycle.Instance{c.Cur, c.Last} {
		if known != nil && known.ID == st.Id && known.Phase == lifecycle.Exited {
			return // nothing new can be said of it
		}
	}
	a.state.Observe(name, a.k.instance(sandbox, st))
	if c.Cur != nil && c.Cur.ID == st.Id && c.Cur.Phase == lifecycle.Exited {
		if cancel := a.stops[st.Id]; cancel != nil {
			cancel()
		}
	}
}

// lookUp asks the runtime for what its event did not say.
func (a *actor) lookUp(sandbox, id string) {
	a.spawn(func() message {
		r, err := a.k.Runtime.ContainerStatus(a.ctx, id, false)
		if err != nil || r.Status == nil {
			return nil
		}
		return func(*lifecycle.State) { a.observe(sandbox, r.Status) }
	})
}

// publish writes the pod's status if it differs, and at last lets its object
// go. It returns when it should be called again, or zero.
func (a *actor) publish(now time.Time) time.Time {
	s, w := a.state, &a.write
	if s.Gone || w.busy || w.deleted {
		return time.Time{}
	}
	if now.Before(w.retryAt) {
		return w.retryAt
	}
	if hold := s.QuietUntil(a.born); now.Before(hold) {
		return hold
	}
	status := s.Status(now, a.k.host)
	patch, err := statusPatch(a.uid, &s.Pod.Status, &status)
	if err != nil {
		a.k.Logger.Error("pod status cannot be encoded", "pod", s.Pod.Name, "namespace", s.Pod.Namespace, "err", err)
		return time.Time{}
	}
	namespace, name := s.Pod.Namespace, s.Pod.Name
	pods := a.k.Client.CoreV1().Pods(namespace)
	switch {
	case patch != nil && (string(patch) != w.patch || s.Pod.ResourceVersion != w.version):
		w.busy = true
		a.spawn(func() message {
			pod, err := pods.Patch(a.ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
			return func(s *lifecycle.State) {
				a.wrote(err)
				if err == nil {
					a.setPod(pod)
					w.patch, w.version = string(patch), pod.ResourceVersion
				}
			}
		})
	case s.Released():
		w.busy = true
		uid, now := a.uid, int64(0)
		a.spawn(func() message {
			err := pods.Delete(a.ctx, name, metav1.DeleteOptions{
				GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid},
			})
			return func(s *lifecycle.State) {
				if apierrors.IsConflict(err) {
					err = nil // another pod has the name by now
				}
				a.wrote(err)
				w.deleted = err == nil
			}
		})
	}
	return time.Time{}
}

// wrote notes the outcome of a write.
func (a *actor) wrote(err error) {
	const first, most = 200 * time.Millisecond, 10 * time.Second
	w := &a.write
	w.busy = false
	switch {
	case err == nil:
		w.failures, w.retryAt = 0, time.Time{}
	case apierrors.IsNotFound(err):
		a.state.Gone = true
	default:
		delay := min(first<<min(w.failures, 10), most)
		w.failures++
		w.retryAt = a.k.Clock.Now().Add(delay)
		a.k.Logger.Warn("pod not written", "pod", a.state.Pod.Name, "namespace", a.state.Pod.Namespace, "err", err, "retryIn", delay)
	}
}
