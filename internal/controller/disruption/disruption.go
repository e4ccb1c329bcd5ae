// Package disruption keeps the status of PodDisruptionBudgets: how many of
// their pods are healthy, and how many may be evicted now. The eviction
// subresource takes from that number and notes the pods it lets go; here they
// count as lost until they are gone, or have not gone for two minutes.
package disruption

import (
	"context"
	"fmt"
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the PodDisruptionBudget controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	events      record.EventRecorder
	budgets     policylisters.PodDisruptionBudgetLister
	pods        corelisters.PodLister
	sets        appslisters.ReplicaSetLister
	deployments appslisters.DeploymentLister
	stateful    appslisters.StatefulSetLister
	controllers corelisters.ReplicationControllerLister
}

const (
	workers = 5
	// patience is how long a pod that may be evicted is counted as lost, should
	// whoever asked never delete it.
	patience = 2 * time.Minute
)

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	core, apps := c.Informers.Core().V1(), c.Informers.Apps().V1()
	budgets := c.Informers.Policy().V1().PodDisruptionBudgets()
	d := &Controller{
		Config: c, events: c.Events.For("controllermanager"), budgets: budgets.Lister(), pods: core.Pods().Lister(),
		sets: apps.ReplicaSets().Lister(), deployments: apps.Deployments().Lister(),
		stateful: apps.StatefulSets().Lister(), controllers: core.ReplicationControllers().Lister(),
	}
	d.Loop = controller.NewLoop("disruption-controller", c, workers, d.sync)
	d.Watch(budgets.Informer(), controller.On(func(_, now *policyv1.PodDisruptionBudget) {
		if now != nil {
			d.Add(controller.KeyOf(now))
		}
	}))
	d.Watch(core.Pods().Informer(), controller.On(d.podChanged))
	// The number of pods that are asked for may change without any pod's.
	d.Watch(apps.ReplicaSets().Informer(), controller.On(func(before, now *appsv1.ReplicaSet) {
		if before != nil && now != nil && !same(before.Spec.Replicas, now.Spec.Replicas) {
			d.selected(now.Namespace, now.Spec.Template.Labels)
		}
	}))
	d.Watch(apps.Deployments().Informer(), controller.On(func(before, now *appsv1.Deployment) {
		if before != nil && now != nil && !same(before.Spec.Replicas, now.Spec.Replicas) {
			d.selected(now.Namespace, now.Spec.Template.Labels)
		}
	}))
	d.Watch(apps.StatefulSets().Informer(), controller.On(func(before, now *appsv1.StatefulSet) {
		if before != nil && now != nil && !same(before.Spec.Replicas, now.Spec.Replicas) {
			d.selected(now.Namespace, now.Spec.Template.Labels)
		}
	}))
	d.Need(core.ReplicationControllers().Informer())
	return d
}

func same(a, b *int32) bool { return deref(a) == deref(b) }

func deref(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func (d *Controller) podChanged(before, now *corev1.Pod) {
	if before != nil && now != nil && health(before) == health(now) && maps.Equal(before.Labels, now.Labels) {
		return
	}
	for _, p := range []*corev1.Pod{before, now} {
		if p != nil {
			d.selected(p.Namespace, p.Labels)
		}
	}
}

type healthiness struct{ ready, going, ended bool }

func health(p *corev1.Pod) healthiness {
	_, ready := controller.PodReady(p)
	return healthiness{ready, p.DeletionTimestamp != nil, controller.PodEnded(p)}
}

// selected adds the budgets that select pods with such labels.
func (d *Controller) selected(namespace string, l map[string]string) {
	all, _ := d.budgets.PodDisruptionBudgets(namespace).List(labels.Everything())
	for _, b := range all {
		if s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector); err == nil && s.Matches(labels.Set(l)) {
			d.AddAfter(controller.KeyOf(b), controller.Gather(int(b.Status.ExpectedPods)))
		}
	}
}

func (d *Controller) sync(ctx context.Context, key controller.Key) error {
	b, err := d.budgets.PodDisruptionBudgets(key.Namespace).Get(key.Name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		return err
	}
	pods, err := d.pods.Pods(key.Namespace).List(selector)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		d.events.Event(b, corev1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	now := d.Clock.Now()
	status := policyv1.PodDisruptionBudgetStatus{Conditions: b.Status.Conditions, ObservedGeneration: b.Generation}
	var next time.Duration
	status.DisruptedPods, next = disrupted(b.Status.DisruptedPods, pods, now)
	if next > 0 {
		d.AddAfter(key, next)
	}
	if err := d.count(b, pods, &status); err != nil {
		d.events.Eventf(b, corev1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", err)
		status = b.Status
		status.DisruptionsAllowed, status.ObservedGeneration = 0, b.Generation
		status.Conditions = judge(b, policyv1.SyncFailedReason, metav1.ConditionFalse, err.Error(), now)
		return d.write(ctx, b, status)
	}
	if status.DisruptionsAllowed > 0 {
		status.Conditions = judge(b, policyv1.SufficientPodsReason, metav1.ConditionTrue, "", now)
	} else {
		status.Conditions = judge(b, policyv1.InsufficientPodsReason, metav1.ConditionFalse, "", now)
	}
	return d.write(ctx, b, status)
}

func judge(b *policyv1.PodDisruptionBudget, reason string, status metav1.ConditionStatus, message string, now time.Time) []metav1.Condition {
	conditions := append([]metav1.Condition(nil), b.Status.Conditions...)
	meta.SetStatusCondition(&conditions, metav1.Condition{
		Type: policyv1.DisruptionAllowedCondition, Status: status, Reason: reason, Message: message,
		ObservedGeneration: b.Generation, LastTransitionTime: metav1.NewTime(now),
	})
	return conditions
}

func (d *Controller) write(ctx context.Context, b *policyv1.PodDisruptionBudget, status policyv1.PodDisruptionBudgetStatus) error {
	if equality.Semantic.DeepEqual(b.Status, status) {
		return nil
	}
	w := *b
	w.Status = status
	_, err := d.Client.PolicyV1().PodDisruptionBudgets(b.Namespace).UpdateStatus(ctx, &w, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}

// disrupted returns the pods of have that may still be about to go. next is
// when the first of them has had its time.
func disrupted(have map[string]metav1.Time, pods []*corev1.Pod, now time.Time) (out map[string]metav1.Time, next time.Duration) {
	for _, p := range pods {
		at, ok := have[p.Name]
		if !ok || p.DeletionTimestamp != nil {
			continue
		}
		left := at.Add(patience).Sub(now)
		if left <= 0 {
			continue
		}
		if out == nil {
			out = map[string]metav1.Time{}
		}
		out[p.Name] = at
		next = controller.Sooner(next, left)
	}
	return out, next
}

// count fills in the numbers of the status.
func (d *Controller) count(b *policyv1.PodDisruptionBudget, pods []*corev1.Pod, s *policyv1.PodDisruptionBudgetStatus) error {
	for _, p := range pods {
		if _, lost := s.DisruptedPods[p.Name]; lost || p.DeletionTimestamp != nil {
			continue
		}
		if _, ready := controller.PodReady(p); ready {
			s.CurrentHealthy++
		}
	}
	switch {
	case b.Spec.MaxUnavailable != nil:
		n, err := d.expected(pods)
		if err != nil {
			return err
		}
		most, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, int(n), true)
		if err != nil {
			return err
		}
		s.ExpectedPods, s.DesiredHealthy = n, max(n-int32(most), 0)
	case b.Spec.MinAvailable != nil && b.Spec.MinAvailable.Type == intstr.Int:
		s.ExpectedPods, s.DesiredHealthy = int32(len(pods)), b.Spec.MinAvailable.IntVal
	case b.Spec.MinAvailable != nil:
		n, err := d.expected(pods)
		if err != nil {
			return err
		}
		least, err := intstr.GetScaledValueFromIntOrPercent(b.Spec.MinAvailable, int(n), true)
		if err != nil {
			return err
		}
		s.ExpectedPods, s.DesiredHealthy = n, int32(least)
	}
	if s.ExpectedPods > 0 {
		s.DisruptionsAllowed = max(s.CurrentHealthy-s.DesiredHealthy, 0)
	}
	return nil
}

// expected is how many pods the controllers of these ask for altogether.
func (d *Controller) expected(pods []*corev1.Pod) (n int32, err error) {
	seen := map[types.UID]bool{}
	for _, p := range pods {
		ref := metav1.GetControllerOfNoCopy(p)
		if ref == nil {
			return 0, fmt.Errorf("found no controller ref for pod %q", p.Name)
		}
		if seen[ref.UID] {
			continue
		}
		seen[ref.UID] = true
		uid, size, err := d.size(p.Namespace, ref)
		if err != nil {
			return 0, err
		}
		if uid == ref.UID || !seen[uid] {
			n += size
			seen[uid] = true
		}
	}
	return n, nil
}

// size returns how many pods a controller asks for; of a ReplicaSet that is
// part of a Deployment, it is the Deployment.
func (d *Controller) size(namespace string, ref *metav1.OwnerReference) (types.UID, int32, error) {
	switch ref.Kind {
	case "ReplicaSet":
		rs, err := d.sets.ReplicaSets(namespace).Get(ref.Name)
		if err != nil {
			return "", 0, err
		}
		owner := metav1.GetControllerOfNoCopy(rs)
		if owner == nil || owner.Kind != "Deployment" {
			return rs.UID, deref(rs.Spec.Replicas), nil
		}
		v, err := d.deployments.Deployments(namespace).Get(owner.Name)
		if err != nil {
			return "", 0, err
		}
		return v.UID, deref(v.Spec.Replicas), nil
	case "StatefulSet":
		v, err := d.stateful.StatefulSets(namespace).Get(ref.Name)
		if err != nil {
			return "", 0, err
		}
		return v.UID, deref(v.Spec.Replicas), nil
	case "ReplicationController":
		v, err := d.controllers.ReplicationControllers(namespace).Get(ref.Name)
		if err != nil {
			return "", 0, err
		}
		return v.UID, deref(v.Spec.Replicas), nil
	}
	return "", 0, fmt.Errorf("%s %q does not have a size", ref.Kind, ref.Name)
}
