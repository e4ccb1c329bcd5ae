// Package deployment rolls a Deployment's pod template out over ReplicaSets.
//
// plan is a pure function of what the caches show; it never asks for more pods
// than replicas and maxSurge allow, and never takes away so many that fewer
// than replicas less maxUnavailable stay available. The Controller applies what
// it returns, with one write of the Deployment's status at most.
package deployment

import (
	"context"
	"errors"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the Deployment controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	events      record.EventRecorder
	deployments appslisters.DeploymentLister
	sets        appslisters.ReplicaSetLister
	setIndex    cache.Indexer
	podIndex    cache.Indexer
	pending     *controller.Pending
}

const workers = 10

var kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	deployments, sets := c.Informers.Apps().V1().Deployments(), c.Informers.Apps().V1().ReplicaSets()
	pods := c.Informers.Core().V1().Pods().Informer()
	d := &Controller{
		Config: c, events: c.Events.For("deployment-controller"),
		deployments: deployments.Lister(), sets: sets.Lister(),
		setIndex: controller.IndexByOwner(sets.Informer()), podIndex: controller.IndexByOwner(pods),
		pending: controller.NewPending(c.Clock),
	}
	d.Loop = controller.NewLoop("deployment-controller", c, workers, d.sync)
	d.Watch(deployments.Informer(), controller.On(func(before, now *appsv1.Deployment) {
		if now == nil {
			d.pending.Forget(before.UID)
			return
		}
		d.Add(controller.KeyOf(now))
	}))
	d.Watch(sets.Informer(), controller.On(d.setChanged))
	d.Watch(pods, controller.On(d.podChanged))
	return d
}

func (d *Controller) setChanged(before, now *appsv1.ReplicaSet) {
	var was, is *metav1.OwnerReference
	if before != nil {
		if was = metav1.GetControllerOfNoCopy(before); was != nil && was.Kind == kind.Kind {
			d.Add(controller.Key{Namespace: before.Namespace, Name: was.Name})
		}
	}
	if now == nil {
		return
	}
	if is = metav1.GetControllerOfNoCopy(now); is != nil {
		if is.Kind == kind.Kind {
			if before == nil {
				d.pending.Created(is.UID)
			}
			d.Add(controller.Key{Namespace: now.Namespace, Name: is.Name})
		}
		return
	}
	if before != nil && was == nil && maps.Equal(before.Labels, now.Labels) {
		return
	}
	all, _ := d.deployments.Deployments(now.Namespace).List(labels.Everything())
	for _, v := range all {
		s, err := metav1.LabelSelectorAsSelector(v.Spec.Selector)
		if err == nil && !s.Empty() && s.Matches(labels.Set(now.Labels)) {
			d.Add(controller.KeyOf(v))
		}
	}
}

// podChanged wakes Deployments that recreate: they wait until old pods are gone.
func (d *Controller) podChanged(before, now *corev1.Pod) {
	if before == nil || now != nil && (controller.PodEnded(before) || !controller.PodEnded(now)) {
		return
	}
	ref := metav1.GetControllerOfNoCopy(before)
	if ref == nil || ref.Kind != "ReplicaSet" {
		return
	}
	rs, err := d.sets.ReplicaSets(before.Namespace).Get(ref.Name)
	if err != nil || rs.UID != ref.UID {
		return
	}
	if ref = metav1.GetControllerOfNoCopy(rs); ref == nil || ref.Kind != kind.Kind {
		return
	}
	v, err := d.deployments.Deployments(rs.Namespace).Get(ref.Name)
	if err == nil && v.UID == ref.UID && v.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		d.Add(controller.KeyOf(v))
	}
}

func (d *Controller) sync(ctx context.Context, key controller.Key) error {
	v, err := d.deployments.Deployments(key.Namespace).Get(key.Name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	if wait := d.pending.Wait(v.UID); wait > 0 {
		d.AddAfter(key, wait) // its new set has yet to show in the cache
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(v.Spec.Selector)
	if err != nil {
		return err
	}
	if selector.Empty() {
		d.events.Event(v, corev1.EventTypeWarning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		status := v.Status
		status.ObservedGeneration = v.Generation
		return d.writeStatus(ctx, v, "", status)
	}
	claim := controller.Claim[appsv1.ReplicaSet]{
		Owner: v, Kind: kind, Selector: selector,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return d.Client.AppsV1().Deployments(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
		},
		Patch: func(ctx context.Context, name string, patch []byte) error {
			_, err := d.Client.AppsV1().ReplicaSets(key.Namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	sets, err := claim.Of(ctx, controller.Owned[appsv1.ReplicaSet](d.setIndex, v.UID), controller.Orphans[appsv1.ReplicaSet](d.setIndex, key.Namespace))
	if err != nil {
		return err
	}
	p := newPlan(v, sets, d.podsRun, d.Clock.Now())
	if p.next > 0 {
		d.AddAfter(key, p.next)
	}
	if err := d.apply(ctx, v, p); err != nil {
		return err
	}
	return d.writeStatus(ctx, v, p.revision, p.status)
}

// podsRun tells whether any pod of the set may still run.
func (d *Controller) podsRun(rs *appsv1.ReplicaSet) bool {
	for _, p := range controller.Owned[corev1.Pod](d.podIndex, rs.UID) {
		if !controller.PodEnded(p) {
			return true
		}
	}
	return false
}

// apply makes the plan's changes to ReplicaSets, and those for more pods first.
func (d *Controller) apply(ctx context.Context, v *appsv1.Deployment, p *plan) error {
	if p.create != nil {
		if err := d.create(ctx, v, p); err != nil {
			return err
		}
	}
	for _, s := range p.changes() {
		rs := s.changed()
		if _, err := d.Client.AppsV1().ReplicaSets(v.Namespace).Update(ctx, rs, metav1.UpdateOptions{}); err != nil {
			return err
		}
		if was := s.specified(); was != s.want {
			d.scaled(v, s.Name, was, s.want)
		}
	}
	for _, rs := range p.remove {
		err := d.Client.AppsV1().ReplicaSets(v.Namespace).Delete(ctx, rs.Name, *metav1.NewPreconditionDeleteOptions(string(rs.UID)))
		if err := controller.GoneOrChanged(err); err != nil {
			return err
		}
	}
	return nil
}

func (d *Controller) scaled(v *appsv1.Deployment, set string, from, to int32) {
	direction := "down"
	if to > from {
		direction = "up"
	}
	d.events.Eventf(v, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", direction, set, from, to)
}

// create makes the new ReplicaSet. If its name is taken by a set that is not
// this template's, the hash collided: the next sync names it otherwise.
func (d *Controller) create(ctx context.Context, v *appsv1.Deployment, p *plan) error {
	client := d.Client.AppsV1().ReplicaSets(v.Namespace)
	d.pending.Create(v.UID, 1)
	made, err := client.Create(ctx, p.create.changed(), metav1.CreateOptions{})
	if err != nil {
		d.pending.Create(v.UID, -1)
	}
	switch {
	case err == nil:
		if n := *made.Spec.Replicas; n > 0 {
			d.scaled(v, made.Name, 0, n)
		}
		return nil
	case apierrors.IsAlreadyExists(err):
		there, getErr := client.Get(ctx, p.create.Name, metav1.GetOptions{})
		if getErr != nil {
			return getErr
		}
		if ref := metav1.GetControllerOfNoCopy(there); ref != nil && ref.UID == v.UID && sameTemplate(&there.Spec.Template, &v.Spec.Template) {
			// The cache is behind; its event brings the next sync.
			return controller.ErrNotYet
		}
		status := v.Status
		var n int32
		if status.CollisionCount != nil {
			n = *status.CollisionCount
		}
		n++
		status.CollisionCount = &n
		return errors.Join(d.writeStatus(ctx, v, "", status), controller.ErrNotYet)
	case controller.NamespaceEnds(err):
		return nil
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", p.create.Name, err)
	if hasDeadline(v) {
		status := v.Status
		status.Conditions = set(v.Status.Conditions, condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ReplicaSetCreateError", message, metav1.NewTime(d.Clock.Now())))
		err = errors.Join(err, d.writeStatus(ctx, v, "", status))
	}
	d.events.Event(v, corev1.EventTypeWarning, "ReplicaSetCreateError", message)
	return err
}

// writeStatus writes what differs of the status and of the revision, an
// annotation that, as upstream has it, travels with the status.
func (d *Controller) writeStatus(ctx context.Context, v *appsv1.Deployment, revision string, status appsv1.DeploymentStatus) error {
	newRevision := revision != "" && v.Annotations[revisionAnnotation] != revision
	if !newRevision && equality.Semantic.DeepEqual(v.Status, status) {
		return nil
	}
	w := *v
	w.Status = status
	if newRevision {
		w.Annotations = maps.Clone(v.Annotations)
		if w.Annotations == nil {
			w.Annotations = map[string]string{}
		}
		w.Annotations[revisionAnnotation] = revision
	}
	_, err := d.Client.AppsV1().Deployments(v.Namespace).UpdateStatus(ctx, &w, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}
