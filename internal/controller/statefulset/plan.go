package statefulset

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clipper/internal/controller"
)

// action is one write to a pod.
type action struct {
	pod     *corev1.Pod // to be deleted; nil if one is to be created
	ordinal int
	current bool // of the current revision, not the update's
}

// plan is what one sync does: actions in order, and the status as observed.
type plan struct {
	actions []action
	status  appsv1.StatefulSetStatus
	next    time.Duration
}

// ordinalOf returns the number at the end of a pod's name, and false if the
// name is none that the set gives.
func ordinalOf(set, pod string) (int, bool) {
	s, ok := strings.CutPrefix(pod, set+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && s == strconv.Itoa(n)
}

func podName(set string, ordinal int) string { return fmt.Sprintf("%s-%d", set, ordinal) }

func bounds(s *appsv1.StatefulSet) (first, end int) {
	if s.Spec.Ordinals != nil {
		first = int(s.Spec.Ordinals.Start)
	}
	n := 1
	if s.Spec.Replicas != nil {
		n = int(*s.Spec.Replicas)
	}
	return first, first + n
}

// newPlan compares a set with its pods. Unless its policy is Parallel, there
// is at most one action, and each waits until all pods before it are available.
func newPlan(s *appsv1.StatefulSet, pods []*corev1.Pod, current, update string, now time.Time) plan {
	p := plan{}
	first, end := bounds(s)
	slots := make([]*corev1.Pod, end-first)
	var extra []*corev1.Pod
	for _, pod := range pods {
		n, ok := ordinalOf(s.Name, pod.Name)
		switch {
		case !ok:
		case n >= first && n < end:
			slots[n-first] = pod
		default:
			extra = append(extra, pod)
		}
	}
	slices.SortFunc(extra, func(a, b *corev1.Pod) int { // the highest goes first
		x, _ := ordinalOf(s.Name, a.Name)
		y, _ := ordinalOf(s.Name, b.Name)
		return cmp.Compare(y, x)
	})
	h := health{s, now}
	p.count(h, slices.Concat(slots, extra), current, update)
	if s.DeletionTimestamp != nil {
		return p
	}
	ordered := s.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
	if p.fill(h, slots, first, ordered) || p.shrink(h, slots, extra, ordered) {
		return p
	}
	if s.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType {
		p.roll(h, slots, first, update)
	}
	return p
}

// fill makes the pods that are missing or have ended, and tells whether that
// has to be waited for.
func (p *plan) fill(h health, slots []*corev1.Pod, first int, ordered bool) (wait bool) {
	for i, pod := range slots {
		switch {
		case pod == nil:
			p.actions = append(p.actions, action{ordinal: first + i, current: h.stays(first + i)})
		case controller.PodEnded(pod):
			if pod.DeletionTimestamp == nil {
				p.actions = append(p.actions, action{pod: pod, ordinal: first + i})
			}
		case pod.DeletionTimestamp == nil && h.available(pod):
			continue
		}
		if ordered {
			return true
		}
	}
	return false
}

// shrink removes pods beyond the size.
func (p *plan) shrink(h health, slots, extra []*corev1.Pod, ordered bool) (wait bool) {
	var unhealthy *corev1.Pod // the first, by ordinal, that is not available
	for _, pod := range slots {
		if pod != nil && !h.available(pod) {
			unhealthy = pod
			break
		}
	}
	for i := len(extra) - 1; i >= 0 && unhealthy == nil; i-- {
		if !h.available(extra[i]) {
			unhealthy = extra[i]
		}
	}
	for _, pod := range extra {
		if pod.DeletionTimestamp != nil {
			if ordered {
				return true
			}
			continue
		}
		if ordered && !h.available(pod) && pod != unhealthy {
			return true
		}
		n, _ := ordinalOf(h.set.Name, pod.Name)
		p.actions = append(p.actions, action{pod: pod, ordinal: n})
		if ordered {
			return true
		}
	}
	return false
}

// roll replaces pods of other revisions, from the highest ordinal down to the
// partition, with no more than maxUnavailable away at a time.
func (p *plan) roll(h health, slots []*corev1.Pod, first int, update string) {
	away, most := 0, h.maxUnavailable(len(slots))
	for _, pod := range slots {
		if pod == nil || pod.DeletionTimestamp != nil || !h.available(pod) {
			away++
		}
	}
	from := first
	if r := h.set.Spec.UpdateStrategy.RollingUpdate; r != nil && r.Partition != nil {
		from += int(*r.Partition)
	}
	for i := len(slots) - 1; i >= 0 && first+i >= from; i-- {
		pod := slots[i]
		if pod == nil || pod.DeletionTimestamp != nil || revisionOf(pod) == update {
			continue
		}
		// A pod that is away anyway costs nothing.
		if h.available(pod) {
			if away >= most {
				return
			}
			away++
		} else if away > most {
			return
		}
		p.actions = append(p.actions, action{pod: pod, ordinal: first + i})
	}
}

// collisionsOf returns how often the name of a revision was taken: 0, never nil,
// as it is part of the names.
func collisionsOf(set *appsv1.StatefulSet) *int32 {
	if n := set.Status.CollisionCount; n != nil {
		return n
	}
	return new(int32)
}

func revisionOf(p *corev1.Pod) string { return p.Labels[appsv1.ControllerRevisionHashLabelKey] }

// health judges pods of a set.
type health struct {
	set *appsv1.StatefulSet
	now time.Time
}

func (h health) ready(p *corev1.Pod) bool {
	_, ready := controller.PodReady(p)
	return ready && p.Status.Phase == corev1.PodRunning
}

func (h health) available(p *corev1.Pod) bool {
	ok, _ := controller.PodAvailable(p, h.set.Spec.MinReadySeconds, h.now)
	return ok && h.ready(p)
}

// stays tells whether a pod is made anew of the current revision, because the
// rollout has not come to it.
func (h health) stays(ordinal int) bool {
	first, _ := bounds(h.set)
	u := h.set.Spec.UpdateStrategy
	switch {
	case u.Type == appsv1.OnDeleteStatefulSetStrategyType:
		return false
	case u.RollingUpdate == nil || u.RollingUpdate.Partition == nil:
		return ordinal < first+int(h.set.Status.CurrentReplicas)
	}
	return ordinal < first+int(*u.RollingUpdate.Partition)
}

func (h health) maxUnavailable(of int) int {
	r := h.set.Spec.UpdateStrategy.RollingUpdate
	if r == nil || r.MaxUnavailable == nil {
		return 1
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(r.MaxUnavailable, of, false)
	if err != nil {
		return 1 // validation refuses it
	}
	return max(n, 1)
}

// count fills in the status.
func (p *plan) count(h health, pods []*corev1.Pod, current, update string) {
	s := &p.status
	s.ObservedGeneration, s.CollisionCount, s.Conditions = h.set.Generation, collisionsOf(h.set), h.set.Status.Conditions
	s.CurrentRevision, s.UpdateRevision = current, update
	for _, pod := range pods {
		if pod == nil {
			continue
		}
		s.Replicas++
		if h.ready(pod) {
			s.ReadyReplicas++
			ok, wait := controller.PodAvailable(pod, h.set.Spec.MinReadySeconds, h.now)
			if ok {
				s.AvailableReplicas++
			}
			p.next = controller.Sooner(p.next, wait)
		}
		if pod.DeletionTimestamp != nil {
			continue
		}
		if revisionOf(pod) == current {
			s.CurrentReplicas++
		}
		if revisionOf(pod) == update {
			s.UpdatedReplicas++
		}
	}
	first, end := bounds(h.set)
	n := int32(end - first)
	if h.set.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType &&
		s.UpdatedReplicas == n && s.Replicas == n && s.ReadyReplicas == n {
		s.CurrentReplicas, s.CurrentRevision = s.UpdatedReplicas, update // the rollout is complete
	}
}
