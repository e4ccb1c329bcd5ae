package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// noteMost is how long an event's note may be.
const noteMost = 1024

// report is what was last told of a pod, so that it is not told again.
type report struct {
	reason, message string
	count           int32
	event           string // its name
}

// reportBound records that a pod was bound.
func (s *Scheduler) reportBound(ctx context.Context, pod *v1.Pod, nodeName string) {
	e := s.event(pod, v1.EventTypeNormal, "Scheduled", "Binding", fmt.Sprintf("Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, nodeName))
	s.reporters.do(func() { s.create(ctx, e) })
}

// reportFailure records why a pod is not bound, as an event and as its
// condition PodScheduled. The same again only counts up the event, and only
// when it has come twice as often.
func (s *Scheduler) reportFailure(ctx context.Context, it *item, reason, message string) {
	pod, r := it.pod, &it.report
	if r.reason == reason && r.message == message {
		s.tellNomination(ctx, it)
		r.count++
		if r.count&(r.count-1) == 0 {
			name, count, now := r.event, r.count, s.clock.Now()
			s.reporters.do(func() { s.countUp(ctx, pod.Namespace, name, count, now) })
		}
		return
	}
	e := s.event(pod, v1.EventTypeWarning, "FailedScheduling", "Scheduling", message)
	it.report = report{reason: reason, message: message, count: 1, event: e.Name}
	var news status
	if condition, changed := s.condition(pod, reason, message); changed {
		news.Conditions = []v1.PodCondition{condition}
	}
	if it.told != it.nominated {
		nodeName := it.nominated
		news.Nominated, it.told = &nodeName, nodeName
	}
	s.reporters.do(func() {
		s.create(ctx, e)
		if news.Conditions != nil || news.Nominated != nil {
			err := s.patchStatus(ctx, pod, news)
			s.lost(ctx, "scheduler: a pod's status could not be set", pod.Namespace, pod.Name, err)
		}
	})
}

func (s *Scheduler) event(pod *v1.Pod, kind, reason, action, note string) *eventsv1.Event {
	now := s.clock.Now()
	if len(note) > noteMost {
		note = note[:noteMost-4] + " ..."
	}
	return &eventsv1.Event{
		TypeMeta:            metav1.TypeMeta{APIVersion: "events.k8s.io/v1", Kind: "Event"},
		ObjectMeta:          metav1.ObjectMeta{Namespace: pod.Namespace, Name: fmt.Sprintf("%s.%x", pod.Name, now.UnixNano())},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: s.name,
		ReportingInstance:   s.instance,
		Action:              action,
		Reason:              reason,
		Regarding:           reference(pod),
		Note:                note,
		Type:                kind,
	}
}

func reference(pod *v1.Pod) v1.ObjectReference {
	return v1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name,
		UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}
}

func (s *Scheduler) create(ctx context.Context, e *eventsv1.Event) {
	var err error
	if s.direct != nil {
		err = s.direct(ctx, "/apis/events.k8s.io/v1/namespaces/"+e.Namespace+"/events", e)
	} else {
		_, err = s.client.EventsV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	}
	s.lost(ctx, "scheduler: an event could not be recorded", e.Regarding.Namespace, e.Regarding.Name, err)
}

func (s *Scheduler) countUp(ctx context.Context, namespace, name string, count int32, now time.Time) {
	patch, err := json.Marshal(map[string]any{"series": eventsv1.EventSeries{Count: count, LastObservedTime: metav1.NewMicroTime(now)}})
	if err == nil {
		_, err = s.client.EventsV1().Events(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	s.lost(ctx, "scheduler: an event could not be counted up", namespace, name, err)
}

// condition returns the PodScheduled condition that says the pod is not bound,
// and whether it is news.
func (s *Scheduler) condition(pod *v1.Pod, reason, message string) (c v1.PodCondition, changed bool) {
	c = v1.PodCondition{
		Type:               v1.PodScheduled,
		ObservedGeneration: pod.Generation,
		Status:             v1.ConditionFalse,
		Reason:             reason,
		Message:            message,
		LastTransitionTime: metav1.NewTime(s.clock.Now()),
	}
	for i := range pod.Status.Conditions {
		old := &pod.Status.Conditions[i]
		if old.Type != v1.PodScheduled {
			continue
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		return c, old.Status != c.Status || old.Reason != c.Reason || old.Message != c.Message
	}
	return c, true
}

// status is what the scheduler says of a pod. Nominated is the node where room
// is made for it; an empty one clears the field.
type status struct {
	Conditions []v1.PodCondition
	Nominated  *string
}

func (s *Scheduler) patchStatus(ctx context.Context, pod *v1.Pod, news status) error {
	fields := map[string]any{}
	if news.Conditions != nil {
		fields["conditions"] = news.Conditions
		fields["$setElementOrder/conditions"] = order(pod.Status.Conditions, news.Conditions)
	}
	if news.Nominated != nil {
		fields["nominatedNodeName"] = *news.Nominated
		if *news.Nominated == "" {
			fields["nominatedNodeName"] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": fields})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// order keeps the conditions that there are in front of the new ones.
func order(have, news []v1.PodCondition) (order []map[string]v1.PodConditionType) {
	seen := map[v1.PodConditionType]bool{}
	for _, list := range [...][]v1.PodCondition{have, news} {
		for i := range list {
			if t := list[i].Type; !seen[t] {
				seen[t] = true
				order = append(order, map[string]v1.PodConditionType{"type": t})
			}
		}
	}
	return order
}

// lost logs what could not be told; what is gone, or being left, needs no word.
func (s *Scheduler) lost(ctx context.Context, what, namespace, name string, err error) {
	if err == nil || ctx.Err() != nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		return
	}
	s.log.Warn(what, "namespace", namespace, "name", name, "err", err)
}
