package kubelet

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"clipper/internal/kubelet/lifecycle"
)

// tick does what can only be seen by looking from time to time. It comes with
// the renewal of the node's lease, so that an idle node wakes no oftener.
func (k *Kubelet) tick(ctx context.Context) {
	k.rotateLogs(ctx)
	k.mu.Lock()
	var limited []*actor
	for _, a := range k.pods {
		if a.limited {
			limited = append(limited, a)
		}
	}
	k.mu.Unlock()
	for _, a := range limited {
		k.checkSizes(ctx, a)
	}
}

// hasSizeLimits tells whether a pod has directories on disk that may not grow
// beyond a limit. (Those in memory are limited by their file system.)
func hasSizeLimits(pod *v1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if sizeLimited(&pod.Spec.Volumes[i]) {
			return true
		}
	}
	return false
}

func sizeLimited(v *v1.Volume) bool {
	e := v.EmptyDir
	return e != nil && e.Medium == v1.StorageMediumDefault && e.SizeLimit != nil && !e.SizeLimit.IsZero()
}

// checkSizes evicts the pod if one of its directories has outgrown its limit.
func (k *Kubelet) checkSizes(ctx context.Context, a *actor) {
	var pod *v1.Pod
	a.ask(ctx, func(s *lifecycle.State) {
		if s.Volumes.Done && !s.Ending() {
			pod = s.Pod
		}
	})
	if pod == nil {
		return
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !sizeLimited(v) {
			continue
		}
		limit := v.EmptyDir.SizeLimit
		if k.volumes.Size(ctx, pod.UID, v.Name, limit.Value()) <= limit.Value() {
			continue
		}
		text := fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, limit.String())
		a.post(func(s *lifecycle.State) {
			if !s.Ending() {
				a.evict(text)
			}
		})
		return
	}
}

// evict ends the pod for the sake of the others.
func (a *actor) evict(text string) {
	s := a.state
	s.End(lifecycle.Verdict{Phase: v1.PodFailed, Reason: "Evicted", Message: text,
		Condition: &v1.PodCondition{Type: v1.DisruptionTarget, Reason: v1.PodReasonTerminationByKubelet, Message: text}})
	a.k.events.Pod(s.Pod, nil, v1.EventTypeWarning, "Evicted", text)
}
