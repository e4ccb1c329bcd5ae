package deployment

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of the condition Progressing.
const (
	setCreated   = "NewReplicaSetCreated"
	setFound     = "FoundNewReplicaSet"
	setUpdated   = "ReplicaSetUpdated"
	setAvailable = "NewReplicaSetAvailable"
	paused       = "DeploymentPaused"
	resumed      = "DeploymentResumed"
	timedOut     = "ProgressDeadlineExceeded"
)

func condition(kind appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string, now metav1.Time) appsv1.DeploymentCondition {
	return appsv1.DeploymentCondition{
		Type: kind, Status: status, Reason: reason, Message: message,
		LastUpdateTime: now, LastTransitionTime: now,
	}
}

func find(all []appsv1.DeploymentCondition, kind appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range all {
		if all[i].Type == kind {
			return &all[i]
		}
	}
	return nil
}

func without(all []appsv1.DeploymentCondition, kind appsv1.DeploymentConditionType) []appsv1.DeploymentCondition {
	return slices.DeleteFunc(slices.Clone(all), func(c appsv1.DeploymentCondition) bool { return c.Type == kind })
}

// set returns all with c, unless one of the same status and reason is there.
func set(all []appsv1.DeploymentCondition, c appsv1.DeploymentCondition) []appsv1.DeploymentCondition {
	if is := find(all, c.Type); is != nil {
		if is.Status == c.Status && is.Reason == c.Reason {
			return all
		}
		if is.Status == c.Status {
			c.LastTransitionTime = is.LastTransitionTime
		}
	}
	return append(without(all, c.Type), c)
}

// hasDeadline tells whether the Deployment's progress is watched at all.
func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

func (p *plan) progressing(status corev1.ConditionStatus, reason, message string) {
	if hasDeadline(p.d) {
		p.status.Conditions = set(p.status.Conditions, condition(appsv1.DeploymentProgressing, status, reason, message, p.time()))
	}
}

// pausing notes that the rollout was paused or resumed; its deadline counts
// from the latter.
func (p *plan) pausing() {
	is := find(p.status.Conditions, appsv1.DeploymentProgressing)
	if is != nil && is.Reason == timedOut {
		return
	}
	switch noted := is != nil && is.Reason == paused; {
	case p.d.Spec.Paused && !noted:
		p.progressing(corev1.ConditionUnknown, paused, "Deployment is paused")
	case !p.d.Spec.Paused && noted:
		p.progressing(corev1.ConditionUnknown, resumed, "Deployment is resumed")
	}
}

func (p *plan) found() {
	if find(p.status.Conditions, appsv1.DeploymentProgressing) == nil {
		p.progressing(corev1.ConditionTrue, setFound, fmt.Sprintf("Found new replica set %q", p.current.Name))
	}
}

func (p *plan) created() {
	p.progressing(corev1.ConditionTrue, setCreated, fmt.Sprintf("Created new replica set %q", p.create.Name))
}

// count fills in the status but for the condition Progressing.
func (p *plan) count() {
	s, all := &p.status, p.all()
	s.ObservedGeneration = p.d.Generation
	s.Replicas, s.ReadyReplicas, s.UpdatedReplicas = 0, 0, 0
	var terminating int32
	s.TerminatingReplicas = &terminating
	for _, rs := range all {
		s.Replicas += rs.Status.Replicas
		s.ReadyReplicas += rs.Status.ReadyReplicas
		switch {
		case rs.Status.TerminatingReplicas != nil:
			terminating += *rs.Status.TerminatingReplicas
		case rs.Status.ObservedGeneration != 0:
			s.TerminatingReplicas = nil // a set whose controller does not count them
		}
	}
	s.AvailableReplicas = available(all)
	s.UnavailableReplicas = max(total(all)-s.AvailableReplicas, 0)
	if p.current != nil {
		s.UpdatedReplicas = p.current.Status.Replicas
	}
	_, unavailable := p.bounds()
	if s.AvailableReplicas >= p.replicas()-unavailable {
		s.Conditions = set(s.Conditions, condition(appsv1.DeploymentAvailable, corev1.ConditionTrue,
			"MinimumReplicasAvailable", "Deployment has minimum availability.", p.time()))
	} else {
		s.Conditions = set(s.Conditions, condition(appsv1.DeploymentAvailable, corev1.ConditionFalse,
			"MinimumReplicasUnavailable", "Deployment does not have minimum availability.", p.time()))
	}
}

// complete tells whether all pods are the current set's, and available.
func complete(d *appsv1.Deployment, s *appsv1.DeploymentStatus) bool {
	n := int32(1)
	if d.Spec.Replicas != nil {
		n = *d.Spec.Replicas
	}
	return s.UpdatedReplicas == n && s.Replicas == n && s.AvailableReplicas == n && s.ObservedGeneration >= d.Generation
}

// progress judges the rollout: done, moving, or stuck for longer than its
// deadline allows.
func (p *plan) progress() {
	s, was := &p.status, &p.d.Status
	p.failures()
	if !hasDeadline(p.d) {
		s.Conditions = without(s.Conditions, appsv1.DeploymentProgressing)
		return
	}
	subject := fmt.Sprintf("Deployment %q", p.d.Name)
	if p.current != nil {
		subject = fmt.Sprintf("ReplicaSet %q", p.current.Name)
	}
	is := find(s.Conditions, appsv1.DeploymentProgressing)
	done := is != nil && is.Reason == setAvailable
	if s.Replicas == s.UpdatedReplicas && done {
		return // and pods that come and go from now on are no rollout
	}
	moved := s.UpdatedReplicas > was.UpdatedReplicas || s.ReadyReplicas > was.ReadyReplicas ||
		s.AvailableReplicas > was.AvailableReplicas || s.Replicas-s.UpdatedReplicas < was.Replicas-was.UpdatedReplicas
	switch {
	case complete(p.d, s):
		p.progressing(corev1.ConditionTrue, setAvailable, subject+" has successfully progressed.")
		return
	case moved:
		c := condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, setUpdated, subject+" is progressing.", p.time())
		if is != nil && is.Status == corev1.ConditionTrue {
			c.LastTransitionTime = is.LastTransitionTime
		}
		s.Conditions = append(without(s.Conditions, appsv1.DeploymentProgressing), c)
	}
	is = find(s.Conditions, appsv1.DeploymentProgressing)
	if is == nil || is.Reason == timedOut || is.Reason == setAvailable {
		return
	}
	deadline := is.LastUpdateTime.Add(time.Duration(*p.d.Spec.ProgressDeadlineSeconds) * time.Second)
	if left := deadline.Sub(p.now); left > 0 {
		p.wake(left)
		return
	}
	p.progressing(corev1.ConditionFalse, timedOut, subject+" has timed out progressing.")
}

// failures repeats here what keeps a set, the current one if it can be, from
// making its pods.
func (p *plan) failures() {
	for _, rs := range p.all() {
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				p.status.Conditions = set(p.status.Conditions, appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
					LastUpdateTime: c.LastTransitionTime, LastTransitionTime: c.LastTransitionTime,
				})
				return
			}
		}
	}
	if find(p.status.Conditions, appsv1.DeploymentReplicaFailure) != nil {
		p.status.Conditions = without(p.status.Conditions, appsv1.DeploymentReplicaFailure)
	}
}
