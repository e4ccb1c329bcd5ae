package scheduler

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bind is DefaultBinder: it tells the API of a decision. If the API refuses,
// the pod is taken off the node again and comes back to the queue.
func (s *Scheduler) bind(ctx context.Context, it *item, pod *v1.Pod, nodeName string) {
	b := &v1.Binding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Binding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     v1.ObjectReference{Kind: "Node", Name: nodeName},
	}
	var err error
	if s.direct != nil {
		err = s.direct(ctx, "/api/v1/namespaces/"+pod.Namespace+"/pods/"+pod.Name+"/binding", b)
	} else {
		err = s.client.CoreV1().Pods(pod.Namespace).Bind(ctx, b, metav1.CreateOptions{})
	}
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	queued := s.queue.items[pod.UID] == it
	if now := s.clock.Now(); err != nil {
		s.counted.attempt(failed, it.began, now)
	} else {
		s.counted.attempt(scheduled, it.began, now)
		s.counted.pods.add(podBounds, now.Sub(it.added))
	}
	if err == nil {
		if queued {
			s.dequeue(it)
		}
		s.reportBound(ctx, pod, nodeName)
		return
	}
	if p := s.index.pods[pod.UID]; p != nil && p.assumed {
		s.forget(pod.UID)
	}
	if !queued {
		return // it was bound or deleted meanwhile
	}
	if apierrors.IsNotFound(err) {
		s.dequeue(it)
		return
	}
	it.backOff(s.clock.Now())
	s.queue.push(it, delayed)
	s.poke()
	s.reportFailure(ctx, it, v1.PodReasonSchedulerError, fmt.Sprintf("binding rejected: running Bind plugin %q: %v", "DefaultBinder", err))
}
