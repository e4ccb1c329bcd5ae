package lifecycle

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/resource"
)

// Host is what a pod's status tells of the node.
type Host struct {
	// IPs of the node, the primary one first.
	IPs []string
	// Runtime is the scheme of container IDs.
	Runtime string
}

// Status returns what the API should show of the pod. The result shares no
// memory with the pod that the State will change.
func (s *State) Status(now time.Time, host Host) v1.PodStatus {
	st := s.Pod.Status // a shallow copy: slices are replaced below, not changed
	st.Phase, st.Reason, st.Message = s.phase(), "", ""
	stopped := s.stopped()
	if s.Verdict != nil && stopped {
		st.Reason, st.Message = s.Verdict.Reason, s.Verdict.Message
	}
	st.ObservedGeneration = s.Pod.Generation
	st.StartTime = stamp(s.StartTime)
	st.QOSClass = QOS(s.Pod)
	if s.Verdict != nil && s.Verdict.Refused {
		return st
	}

	if len(host.IPs) > 0 {
		st.HostIP = host.IPs[0]
		st.HostIPs = nil
		for _, ip := range host.IPs {
			st.HostIPs = append(st.HostIPs, v1.HostIP{IP: ip})
		}
	}
	ips := s.Sandbox.IPs
	if !s.connected() {
		ips = nil
	}
	if s.Pod.Spec.HostNetwork && s.Sandbox.ID != "" {
		ips = host.IPs
	}
	if len(ips) > 0 {
		st.PodIP = ips[0]
		st.PodIPs = nil
		for _, ip := range ips {
			st.PodIPs = append(st.PodIPs, v1.PodIP{IP: ip})
		}
	}

	s.podResources(&st)
	st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses = nil, nil, nil
	for _, c := range s.Containers {
		cs := s.containerStatus(now, c, host)
		switch c.Kind {
		case Init, Sidecar:
			st.InitContainerStatuses = append(st.InitContainerStatuses, cs)
		case Main:
			st.ContainerStatuses = append(st.ContainerStatuses, cs)
		case Ephemeral:
			st.EphemeralContainerStatuses = append(st.EphemeralContainerStatuses, cs)
		}
	}
	st.Conditions = s.conditions(now, st.Phase)
	return st
}

// quietFor is how long a status that is about to change is held back: mostly a
// new pod runs by then, and one write tells all.
const quietFor = 150 * time.Millisecond

// QuietUntil is when the status is worth a write of its own though nothing else
// happens; zero is now. Until then it says only that a new pod is being made,
// born at that time, or that a run of an earlier definition has ended and the
// next is being started.
func (s *State) QuietUntil(born time.Time) time.Time {
	if s.Ending() || s.Volumes.Reason != "" || s.Sandbox.Reason != "" {
		return time.Time{}
	}
	var replaced time.Time
	ran := false
	for _, c := range s.Containers {
		if c.Image.Reason != "" || c.Start.Reason != "" {
			return time.Time{}
		}
		ran = ran || c.Cur != nil
		if c.outdated() && c.Cur.Phase == Exited && c.Cur.FinishedAt.After(replaced) {
			replaced = c.Cur.FinishedAt
		}
	}
	switch {
	case !ran:
		return born.Add(quietFor)
	case !replaced.IsZero():
		return replaced.Add(quietFor)
	}
	return time.Time{}
}

// stopped tells whether an ending pod's containers are all at rest.
func (s *State) stopped() bool {
	if !s.Ending() {
		return false
	}
	for _, c := range s.Containers {
		if c.running() || c.Start.Busy {
			return false
		}
	}
	return true
}

// phase of the pod. Terminal ones come from a verdict, or from a deletion, once
// all has stopped.
func (s *State) phase() v1.PodPhase {
	if s.stopped() {
		if s.Verdict != nil {
			return s.Verdict.Phase
		}
		for _, c := range s.Containers {
			if c.Kind == Main && (c.Cur == nil || c.Cur.Phase != Exited || c.Cur.ExitCode != 0) {
				return v1.PodFailed
			}
		}
		return v1.PodSucceeded
	}
	if !s.initialized() {
		return v1.PodPending
	}
	for _, c := range s.Containers {
		if c.Kind == Main && (c.Cur == nil || c.Cur.Phase == Created || c.running() && c.PostStart < HookDone && c.Cur.Attempt == 0) {
			return v1.PodPending
		}
	}
	return v1.PodRunning
}

// connected tells whether the pod's network is told of. It is made side by side
// with the volumes, but users know it as the step after them.
func (s *State) connected() bool {
	if s.Volumes.Reason == "" || s.Volumes.Done {
		return true
	}
	for _, c := range s.Containers {
		if c.Cur != nil {
			return true
		}
	}
	return false
}

// initialized tells whether the init containers are behind the pod.
func (s *State) initialized() bool {
	if s.past() {
		return true
	}
	for _, c := range s.Containers {
		switch {
		case c.Kind == Sidecar && !c.Started() && !s.stopped():
			return false
		case c.Kind == Init && (c.Cur == nil || c.Cur.Phase != Exited || c.Cur.ExitCode != 0 || !s.here(c.Cur) && !s.Ending()):
			return false
		}
	}
	return true
}

func (s *State) containerStatus(now time.Time, c *Container, host Host) v1.ContainerStatus {
	ready, started := c.Ready(), c.Started()
	cs := v1.ContainerStatus{
		Name:    c.Name,
		Image:   c.Spec.Image,
		Ready:   ready,
		Started: &started,
	}
	last := c.Last
	switch cur := c.Cur; {
	case cur == nil || cur.Phase == Created:
		cs.State.Waiting = s.waiting(now, c)
		if s.stopped() && s.Deleted() && s.initialized() && c.Kind == Main {
			cs.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
				Reason:   "ContainerStatusUnknown",
				Message:  "The container could not be located when the pod was terminated",
				ExitCode: 137,
			}}
		}
	case cur.Phase == Running && c.PostStart < HookDone:
		cs.State.Waiting = s.waiting(now, c)
	case cur.Phase == Running:
		cs.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(cur.StartedAt.Truncate(time.Second))}
	default:
		if w := s.waitingAgain(now, c); w != nil {
			cs.State.Waiting, last = w, cur
		} else {
			cs.State.Terminated = terminated(cur, host)
		}
	}
	if last != nil && last.Phase == Exited {
		cs.LastTerminationState.Terminated = terminated(last, host)
	}
	if cur := c.Cur; cur != nil {
		cs.RestartCount = cur.Attempt
		if cur.ID != "" {
			cs.ContainerID = host.Runtime + "://" + cur.ID
		}
		if cur.Image != "" {
			cs.Image = cur.Image
		}
		cs.ImageID = cur.ImageID
		cs.User = cur.User
	}
	cs.RestartCount = max(cs.RestartCount, c.Restarts)
	s.statusResources(c, &cs)
	for _, m := range c.Spec.VolumeMounts {
		vm := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			off := v1.RecursiveReadOnlyDisabled
			if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly != v1.RecursiveReadOnlyDisabled {
				off = v1.RecursiveReadOnlyEnabled
			}
			vm.RecursiveReadOnly = &off
		}
		cs.VolumeMounts = append(cs.VolumeMounts, vm)
	}
	return cs
}

// podResources tells what the pod as a whole is allowed and was given.
func (s *State) podResources(st *v1.PodStatus) {
	st.AllocatedResources, st.Resources = nil, &v1.ResourceRequirements{}
	bare := s.Pod.Spec.Resources == nil
	for _, c := range s.Containers {
		bare = bare && len(c.Spec.Resources.Limits) == 0 && len(c.Spec.Resources.Requests) == 0
	}
	if bare {
		return
	}
	requests := resource.PodRequests(s.Pod, resource.PodResourcesOptions{ExcludeOverhead: true})
	st.AllocatedResources = requests
	st.Resources.Requests = requests
	st.Resources.Limits = resource.PodLimits(s.Pod, resource.PodResourcesOptions{ExcludeOverhead: true})
}

// statusResources tells what a container is allowed and was given.
func (s *State) statusResources(c *Container, cs *v1.ContainerStatus) {
	if c.Kind == Ephemeral {
		return
	}
	given := c.given()
	cs.AllocatedResources = c.Spec.Resources.Requests
	if s.Pending != nil {
		cs.AllocatedResources = given.Requests
	}
	if c.Cur != nil {
		cs.Resources = &v1.ResourceRequirements{Limits: given.Limits, Requests: given.Requests}
	}
}

// waiting says why a container has not run yet.
func (s *State) waiting(now time.Time, c *Container) *v1.ContainerStateWaiting {
	if w := s.trouble(now, c); w != nil {
		return w
	}
	for _, o := range s.Containers {
		if o.Kind == Init || o.Kind == Sidecar {
			return &v1.ContainerStateWaiting{Reason: "PodInitializing"}
		}
	}
	return &v1.ContainerStateWaiting{Reason: "ContainerCreating"}
}

// waitingAgain says why an exited container has not been started again; nil
// when it is not going to be, or is about to.
func (s *State) waitingAgain(now time.Time, c *Container) *v1.ContainerStateWaiting {
	if s.Ending() {
		return nil
	}
	if delay := s.CrashBackOff(now, c); delay > 0 {
		return &v1.ContainerStateWaiting{
			Reason: "CrashLoopBackOff",
			Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
				delay, c.Name, s.Pod.Name, s.Pod.Namespace, s.Pod.UID),
		}
	}
	if !s.restarts(c) {
		return nil
	}
	return s.trouble(now, c)
}

// trouble is what went wrong with the container's image or start, or nil.
func (s *State) trouble(now time.Time, c *Container) *v1.ContainerStateWaiting {
	switch {
	case c.PullBackOff(now):
		return &v1.ContainerStateWaiting{
			Reason:  "ImagePullBackOff",
			Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", c.Spec.Image, c.Image.Message),
		}
	case c.Image.Reason != "":
		return &v1.ContainerStateWaiting{Reason: c.Image.Reason, Message: c.Image.Message}
	case c.Start.Reason != "":
		return &v1.ContainerStateWaiting{Reason: c.Start.Reason, Message: c.Start.Message}
	}
	return nil
}

func terminated(i *Instance, host Host) *v1.ContainerStateTerminated {
	t := &v1.ContainerStateTerminated{
		ExitCode: i.ExitCode,
		Reason:   i.Reason,
		Message:  i.Message,
	}
	// What never ran is told to have started at the epoch, as runtimes say.
	t.StartedAt = metav1.Unix(0, 0)
	if !i.StartedAt.IsZero() {
		t.StartedAt = metav1.NewTime(i.StartedAt.Truncate(time.Second))
	}
	if !i.FinishedAt.IsZero() {
		t.FinishedAt = metav1.NewTime(i.FinishedAt.Truncate(time.Second))
	}
	if i.ID != "" {
		t.ContainerID = host.Runtime + "://" + i.ID
	}
	return t
}

// owned are the condition types that the node agent decides.
var owned = [...]v1.PodConditionType{
	v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled,
}

// Owned tells whether conditions of that type are the node agent's to write.
func Owned(t v1.PodConditionType) bool {
	for _, o := range owned {
		if o == t {
			return true
		}
	}
	return t == v1.DisruptionTarget || Passing(t)
}

// Passing tells whether a condition is there only as long as it holds.
func Passing(t v1.PodConditionType) bool {
	return t == v1.PodResizePending || t == v1.PodResizeInProgress
}

// conditions returns the pod's conditions: those of others as they are, then
// the node's own.
func (s *State) conditions(now time.Time, phase v1.PodPhase) []v1.PodCondition {
	var list []v1.PodCondition
	old := func(t v1.PodConditionType) *v1.PodCondition {
		for i := range s.Pod.Status.Conditions {
			if c := &s.Pod.Status.Conditions[i]; c.Type == t {
				return c
			}
		}
		return nil
	}
	for _, c := range s.Pod.Status.Conditions {
		if !Owned(c.Type) || c.Type == v1.DisruptionTarget {
			list = append(list, c)
		}
	}
	add := func(t v1.PodConditionType, ok bool, reason, message string) {
		c := v1.PodCondition{Type: t, Status: v1.ConditionFalse, Reason: reason, Message: message,
			ObservedGeneration: s.Pod.Generation}
		if ok {
			c.Status = v1.ConditionTrue
		}
		if o := old(t); o != nil && o.Status == c.Status {
			c.LastTransitionTime = o.LastTransitionTime
		} else {
			c.LastTransitionTime = *stamp(now)
		}
		list = append(list, c)
	}

	add(v1.PodReadyToStartContainers, s.connected() && s.Sandbox.Done && !s.Sandbox.Dead && !s.Teardown.Done, "", "")
	ok, reason, message := s.initCondition(phase)
	add(v1.PodInitialized, ok, reason, message)
	ready, reason, message := s.readyCondition(phase)
	if ok, r, m := s.gates(ready, reason, message); ok == ready && r == reason {
		add(v1.PodReady, ready, reason, message)
	} else {
		add(v1.PodReady, ok, r, m)
	}
	add(v1.ContainersReady, ready, reason, message)
	add(v1.PodScheduled, true, "", "")
	s.resizeConditions(add)
	if v := s.Verdict; v != nil && v.Condition != nil && old(v.Condition.Type) == nil {
		add(v.Condition.Type, true, v.Condition.Reason, v.Condition.Message)
	}
	return list
}

func (s *State) initCondition(phase v1.PodPhase) (ok bool, reason, message string) {
	if phase == v1.PodSucceeded {
		return true, "PodCompleted", ""
	}
	if s.initialized() {
		return true, "", ""
	}
	var open []string
	for _, c := range s.Containers {
		switch {
		case c.Kind == Sidecar && !c.Started():
			open = append(open, c.Name)
		case c.Kind == Init && !c.Ready():
			open = append(open, c.Name)
		}
	}
	return false, "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: %v", open)
}

func (s *State) readyCondition(phase v1.PodPhase) (ok bool, reason, message string) {
	switch {
	case phase == v1.PodSucceeded:
		return false, "PodCompleted", ""
	case phase == v1.PodFailed:
		return false, "PodFailed", ""
	}
	var open []string
	for _, c := range s.Containers {
		if (c.Kind == Main || c.Kind == Sidecar) && !c.Ready() {
			open = append(open, c.Name)
		}
	}
	if len(open) > 0 {
		return false, "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", open)
	}
	return true, "", ""
}

// gates looks at the conditions that the pod's readinessGates name.
func (s *State) gates(ready bool, reason, message string) (bool, string, string) {
	if !ready {
		return ready, reason, message
	}
	var open []string
	for _, g := range s.Pod.Spec.ReadinessGates {
		found := false
		for _, c := range s.Pod.Status.Conditions {
			if c.Type != g.ConditionType {
				continue
			}
			found = true
			if c.Status != v1.ConditionTrue {
				open = append(open, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", c.Type, c.Status))
			}
		}
		if !found {
			open = append(open, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType))
		}
	}
	if len(open) > 0 {
		return false, "ReadinessGatesNotReady", strings.Join(open, ", ")
	}
	return true, "", ""
}

func stamp(t time.Time) *metav1.Time {
	m := metav1.NewTime(t.Truncate(time.Second))
	return &m
}

// FromStatus returns the run that a container's last reported status tells of,
// for one whose record is lost; nil if it never ran. A run that was reported to
// be running has ended, nobody knows how. sandbox is that of the pod now, where
// an init container's success still counts.
func FromStatus(cs *v1.ContainerStatus, sandbox string, now time.Time) *Instance {
	i := &Instance{Phase: Exited, Attempt: cs.RestartCount, Image: cs.Image, ImageID: cs.ImageID, SandboxID: sandbox, User: cs.User}
	if _, id, ok := strings.Cut(cs.ContainerID, "://"); ok {
		i.ID = id
	}
	t := cs.State.Terminated
	if t == nil && cs.State.Waiting != nil {
		t = cs.LastTerminationState.Terminated
	}
	switch {
	case t != nil:
		i.ExitCode, i.Reason, i.Message = t.ExitCode, t.Reason, t.Message
		i.StartedAt, i.FinishedAt = t.StartedAt.Time, t.FinishedAt.Time
	case cs.State.Running != nil:
		i.StartedAt, i.FinishedAt = cs.State.Running.StartedAt.Time, now
		i.ExitCode, i.Reason = 137, "ContainerStatusUnknown"
		i.Message = "The container could not be located when the pod was deleted.  The container used to be Running"
	default:
		return nil
	}
	return i
}
