package scheduler

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeRoom has a candidate's victims go, and keeps the room for a pod. Pods of
// lower priority that hoped for the node look for another.
func (s *Scheduler) makeRoom(ctx context.Context, it *item, c *candidate) {
	now := s.clock.Now()
	for _, o := range append([]*item(nil), s.nominations[c.node.name]...) {
		if o == it || o.priority >= it.priority {
			continue
		}
		s.nominations.set(o, "")
		s.tellNomination(ctx, o)
		if o.at == waiting {
			s.queue.wake(o, backoff, now)
		}
	}
	s.nominate(it, c.node.name)
	for _, v := range c.victims {
		if v.going || v.pod.DeletionTimestamp != nil {
			continue // it goes already
		}
		v.going = true
		victim, by := v.pod, it.pod
		s.binders.do(func() { s.evict(ctx, it, victim, by, c.node.name) })
	}
}

// evict deletes a pod to make room for another. If the API refuses, the other
// is tried again.
func (s *Scheduler) evict(ctx context.Context, it *item, victim, by *v1.Pod, nodeName string) {
	err := s.patchStatus(ctx, victim, status{Conditions: []v1.PodCondition{{
		Type:               v1.DisruptionTarget,
		ObservedGeneration: victim.Generation,
		Status:             v1.ConditionTrue,
		Reason:             v1.PodReasonPreemptionByScheduler,
		Message:            s.name + ": preempting to accommodate a higher priority pod",
		LastTransitionTime: metav1.NewTime(s.clock.Now()),
	}}})
	if err == nil {
		err = s.client.CoreV1().Pods(victim.Namespace).Delete(ctx, victim.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(victim.UID))})
	}
	switch {
	case ctx.Err() != nil:
	case err == nil:
		s.reportPreempted(ctx, victim, by, nodeName)
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		// It is gone, or another pod has its name: informers tell.
	default:
		s.log.Warn("scheduler: a pod could not be deleted to make room", "namespace", victim.Namespace, "name", victim.Name, "for", by.Namespace+"/"+by.Name, "err", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		if p := s.index.pods[victim.UID]; p != nil {
			p.going = false
		}
		if it.at == waiting {
			s.queue.take(it)
			s.queue.push(it, delayed)
			s.poke()
		}
	}
}

func (s *Scheduler) reportPreempted(ctx context.Context, victim, by *v1.Pod, nodeName string) {
	e := s.event(victim, v1.EventTypeNormal, "Preempted", "Preempting", fmt.Sprintf("Preempted by pod %v on node %v", by.UID, nodeName))
	related := reference(by)
	e.Related = &related
	s.reporters.do(func() { s.create(ctx, e) })
}

// tellNomination tells the API where room is made for a pod, if that is news.
func (s *Scheduler) tellNomination(ctx context.Context, it *item) {
	if it.told == it.nominated {
		return
	}
	it.told = it.nominated
	pod, nodeName := it.pod, it.nominated
	s.reporters.do(func() {
		err := s.patchStatus(ctx, pod, status{Nominated: &nodeName})
		s.lost(ctx, "scheduler: where room is made for a pod could not be told", pod.Namespace, pod.Name, err)
	})
}
