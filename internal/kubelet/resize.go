package kubelet

import (
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/kubelet/lifecycle"
)

// weighResize decides whether the node grants what the pod now asks for.
func (a *actor) weighResize() {
	s := a.state
	if !s.Admitted || s.Ending() {
		return
	}
	if !s.Resizes() {
		s.Pending = nil
		return
	}
	k := a.k
	k.mu.Lock()
	defer k.mu.Unlock()
	c := claimOf(s.Pod)
	alone := map[v1.ResourceName]bool{}
	for name, q := range c.requests {
		capacity, known := k.spec.Allocatable[name]
		alone[name] = !known || q.Cmp(capacity) <= 0
	}
	for _, name := range slices.Sorted(maps.Keys(c.requests)) {
		if !alone[name] {
			q, capacity := c.requests[name], k.spec.Allocatable[name]
			s.Pending = &lifecycle.Pending{Reason: v1.PodReasonInfeasible, Message: fmt.Sprintf(
				"Node didn't have enough capacity: %s, requested: %d, capacity: %d", name, unit(name, &q), unit(name, &capacity))}
			return
		}
	}
	was := k.claimed[s.Pod.UID]
	delete(k.claimed, s.Pod.UID)
	r := k.shortLocked(c)
	if r != nil {
		k.claimed[s.Pod.UID] = was
		s.Pending = &lifecycle.Pending{Reason: v1.PodReasonDeferred, Message: r.message}
		return
	}
	s.Pending = nil
	k.claimLocked(s.Pod, c)
}

// retryDeferredLocked has resizes weighed again that waited for others to leave.
func (k *Kubelet) retryDeferredLocked() {
	for _, a := range k.pods {
		a.post(func(s *lifecycle.State) {
			if s.Pending != nil && s.Pending.Reason == v1.PodReasonDeferred {
				a.weighResize()
			}
		})
	}
}

// resizeContainer gives a run other resources, the pod's cgroup never being
// tighter than what is in it.
func (a *actor) resizeContainer(act lifecycle.Action) {
	k, c, pod := a.k, act.Container, a.state.Pod
	spec := c.Spec
	config := k.spec.Sandbox(pod, a.state.Sandbox.Attempt)
	a.spawn(func() message {
		err := func() error {
			to := &runtimeapi.ContainerResources{Linux: k.spec.Resources(pod, spec)}
			// A limit that grows must grow outside first, one that shrinks inside.
			// What cannot be done first is done in the second round.
			outer := k.makeCgroup(config)
			if err := k.Runtime.UpdateContainerResources(a.ctx, act.ID, to); err != nil {
				return err
			}
			if outer == nil {
				return nil
			}
			return k.makeCgroup(config)
		}()
		return func(s *lifecycle.State) {
			s.Resized(k.Clock.Now(), c, act.ID, spec.Resources, text(err))
			if err == nil {
				s.SourcesChanged() // files may show the resources
			}
		}
	})
}

// unit is the number that messages give of a quantity: thousandths of a
// processor, or bytes.
func unit(name v1.ResourceName, q interface {
	MilliValue() int64
	Value() int64
}) int64 {
	if name == v1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}
