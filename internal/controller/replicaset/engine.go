// Package replicaset keeps as many pods as a ReplicaSet asks for. Its Engine
// knows of ReplicaSets only through Kind, and also serves
// ReplicationControllers.
//
// An owner creates or deletes only after its cache has shown all that it wrote
// before (controller.Pending), so it never makes too many.
package replicaset

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/controller"
)

const (
	workers = 10
	// burst bounds the pods that one sync creates or deletes.
	burst = 500
)

// Set is an object that asks for copies of a pod.
type Set struct {
	controller.Owner
	Selector        labels.Selector
	Template        *corev1.PodTemplateSpec
	Replicas        int32
	MinReadySeconds int32
	Status          appsv1.ReplicaSetStatus
	// Terminating tells that the status counts terminating pods.
	Terminating bool
}

// Kind is one kind of Set.
type Kind interface {
	// Name is the controller's.
	Name() string
	GroupVersionKind() schema.GroupVersionKind
	Informer() cache.SharedIndexInformer
	// Cached returns a set, or a NotFound error.
	Cached(controller.Key) (*Set, error)
	// Selecting returns the sets that select the pod.
	Selecting(*corev1.Pod) []controller.Key
	// Peers returns the uids of the sets whose pods are copies of this one's,
	// its own included.
	Peers(*Set) []types.UID
	// Live reads a set's metadata from the API.
	Live(context.Context, controller.Key) (metav1.Object, error)
	WriteStatus(context.Context, *Set, appsv1.ReplicaSetStatus) error
}

// Engine is the controller of one Kind.
type Engine struct {
	*controller.Loop[controller.Key]
	controller.Config
	kind    Kind
	pods    cache.Indexer
	writer  controller.PodWriter
	pending *controller.Pending
}

// NewEngine returns the controller of a kind; Run starts it.
func NewEngine(c controller.Config, kind Kind) *Engine {
	pods := c.Informers.Core().V1().Pods().Informer()
	e := &Engine{
		Config: c, kind: kind, pods: controller.IndexByOwner(pods),
		writer:  controller.PodWriter{Client: c.Client, Events: c.Events.For(kind.Name())},
		pending: controller.NewPending(c.Clock),
	}
	e.Loop = controller.NewLoop(kind.Name(), c, workers, e.sync)
	e.Watch(kind.Informer(), cache.ResourceEventHandlerFuncs{
		AddFunc:    e.setChanged,
		UpdateFunc: func(_, now any) { e.setChanged(now) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if o, ok := o.(metav1.Object); ok {
				e.pending.Forget(o.GetUID())
			}
		},
	})
	e.Watch(pods, controller.On(e.podChanged))
	return e
}

func (e *Engine) setChanged(o any) {
	if o, ok := o.(metav1.Object); ok {
		e.Add(controller.KeyOf(o))
	}
}

// seen is what a sync reads of a pod; changes of other things wake nobody.
type seen struct {
	active, terminating, ready bool
	since                      time.Time
}

func see(p *corev1.Pod) seen {
	since, ready := controller.PodReady(p)
	return seen{controller.PodActive(p), controller.PodTerminating(p), ready, since.Time}
}

func (e *Engine) podChanged(before, now *corev1.Pod) {
	if before != nil && now != nil && before.UID != now.UID {
		e.podChanged(before, nil)
		before = nil
	}
	var was, is *metav1.OwnerReference
	if before != nil {
		was = e.owner(before)
	}
	if now != nil {
		is = e.owner(now)
	}
	var progress controller.Progress // of what was written
	if was != nil && (now == nil || now.DeletionTimestamp != nil && before.DeletionTimestamp == nil) {
		progress = e.pending.Deleted(was.UID, before.UID)
	}
	if was != nil && (is == nil || is.UID != was.UID) {
		e.changed(controller.Key{Namespace: before.Namespace, Name: was.Name}, progress)
	}
	if now == nil {
		return
	}
	if is == nil {
		if now.DeletionTimestamp == nil && metav1.GetControllerOfNoCopy(now) == nil &&
			(before == nil || was != nil || !maps.Equal(before.Labels, now.Labels)) {
			for _, k := range e.kind.Selecting(now) {
				e.Add(k)
			}
		}
		return
	}
	if before == nil {
		progress = e.pending.Created(is.UID)
		if now.DeletionTimestamp != nil {
			progress = e.pending.Deleted(is.UID, now.UID)
		}
	}
	if before == nil || was == nil || see(before) != see(now) || !maps.Equal(before.Labels, now.Labels) {
		e.changed(controller.Key{Namespace: now.Namespace, Name: is.Name}, progress)
	}
}

// changed has a set looked at whose pods changed: at once when all is seen that
// was written, and else the later the larger it is.
func (e *Engine) changed(set controller.Key, p controller.Progress) {
	switch p {
	case controller.Complete:
		e.Add(set)
	case controller.Unrelated:
		if s, err := e.kind.Cached(set); err == nil {
			e.AddAfter(set, controller.Gather(int(s.Status.Replicas)))
		}
	}
}

// owner returns the pod's reference to a set of this kind.
func (e *Engine) owner(p *corev1.Pod) *metav1.OwnerReference {
	ref := metav1.GetControllerOfNoCopy(p)
	gvk := e.kind.GroupVersionKind()
	if ref == nil || ref.Kind != gvk.Kind || ref.APIVersion != gvk.GroupVersion().String() {
		return nil
	}
	return ref
}

func (e *Engine) sync(ctx context.Context, key controller.Key) error {
	set, err := e.kind.Cached(key)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	uid := set.GetUID()
	// Asked before the cache is read: what it shows afterwards is complete.
	wait := e.pending.Wait(uid)
	claim := controller.Claim[corev1.Pod]{
		Owner: set, Kind: e.kind.GroupVersionKind(), Selector: set.Selector,
		Live: func(ctx context.Context) (metav1.Object, error) { return e.kind.Live(ctx, key) },
		Patch: func(ctx context.Context, name string, patch []byte) error {
			_, err := e.Client.CoreV1().Pods(key.Namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		Adoptable: func(p *corev1.Pod) bool { return !controller.PodEnded(p) },
	}
	pods, err := claim.Of(ctx, controller.Owned[corev1.Pod](e.pods, uid), controller.Orphans[corev1.Pod](e.pods, key.Namespace))
	if err != nil {
		return err
	}
	status, next := observe(set, pods, e.Clock.Now())
	var failed error
	if wait == 0 && set.GetDeletionTimestamp() == nil {
		failed = e.manage(ctx, set, pods, int(set.Replicas-status.Replicas))
	}
	status.Conditions = conditions(set.Status.Conditions, int(set.Replicas-status.Replicas), failed, metav1.NewTime(e.Clock.Now()))
	if next = controller.Sooner(next, wait); next > 0 {
		e.AddAfter(key, next)
	}
	if !same(&set.Status, &status) {
		err = controller.IgnoreNotFound(e.kind.WriteStatus(ctx, set, status))
	}
	return errors.Join(failed, err)
}

// manage creates or deletes pods, where missing is how many there are too few.
func (e *Engine) manage(ctx context.Context, set *Set, pods []*corev1.Pod, missing int) error {
	switch {
	case missing > 0:
		return e.create(ctx, set, min(missing, burst))
	case missing < 0:
		return e.delete(ctx, set, pods, min(-missing, burst))
	}
	return nil
}

func (e *Engine) create(ctx context.Context, set *Set, n int) error {
	uid := set.GetUID()
	e.pending.Create(uid, n)
	made, err := controller.SlowStart(n, func(int) error {
		_, err := e.writer.Create(ctx, set.Owner, controller.PodOf(set.Template, set.Owner, e.kind.GroupVersionKind()))
		return err
	})
	if made < n {
		e.pending.Create(uid, made-n)
	}
	if controller.NamespaceEnds(err) {
		return nil
	}
	return err
}

func (e *Engine) delete(ctx context.Context, set *Set, pods []*corev1.Pod, n int) error {
	active := slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool { return !controller.PodActive(p) })
	if n < len(active) {
		var peers []*corev1.Pod
		for _, uid := range e.kind.Peers(set) {
			peers = append(peers, controller.Owned[corev1.Pod](e.pods, uid)...)
		}
		controller.SortForDeletion(active, peers, e.Clock.Now())
	}
	n = min(n, len(active))
	uid := set.GetUID()
	for _, p := range active[:n] {
		e.pending.Delete(uid, p.UID)
	}
	_, err := controller.AllAtOnce(n, func(i int) error {
		p := active[i]
		err := e.writer.Delete(ctx, set.Owner, p.Name, p.UID)
		if err != nil {
			e.pending.Deleted(uid, p.UID)
		}
		return controller.GoneOrChanged(err)
	})
	return err
}

// observe counts the set's pods. next is when a ready pod becomes available.
func observe(set *Set, pods []*corev1.Pod, now time.Time) (s appsv1.ReplicaSetStatus, next time.Duration) {
	s.ObservedGeneration = set.GetGeneration()
	template := labels.SelectorFromSet(set.Template.Labels)
	var terminating int32
	for _, p := range pods {
		if controller.PodTerminating(p) {
			terminating++
		}
		if !controller.PodActive(p) {
			continue
		}
		s.Replicas++
		if template.Matches(labels.Set(p.Labels)) {
			s.FullyLabeledReplicas++
		}
		if _, ready := controller.PodReady(p); ready {
			s.ReadyReplicas++
		}
		available, wait := controller.PodAvailable(p, set.MinReadySeconds, now)
		if available {
			s.AvailableReplicas++
		}
		next = controller.Sooner(next, wait)
	}
	if set.Terminating {
		s.TerminatingReplicas = &terminating
	}
	return s, next
}

// conditions returns have with ReplicaFailure as failed says.
func conditions(have []appsv1.ReplicaSetCondition, missing int, failed error, now metav1.Time) []appsv1.ReplicaSetCondition {
	i := slices.IndexFunc(have, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure })
	switch {
	case failed == nil && i >= 0:
		return slices.Delete(slices.Clone(have), i, i+1)
	case failed == nil || i >= 0:
		return have
	}
	c := appsv1.ReplicaSetCondition{
		Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, LastTransitionTime: now,
		Reason: "FailedCreate", Message: failed.Error(),
	}
	if missing < 0 {
		c.Reason = "FailedDelete"
	}
	return append(slices.Clone(have), c)
}

func same(a, b *appsv1.ReplicaSetStatus) bool {
	return a.Replicas == b.Replicas && a.FullyLabeledReplicas == b.FullyLabeledReplicas &&
		a.ReadyReplicas == b.ReadyReplicas && a.AvailableReplicas == b.AvailableReplicas &&
		a.ObservedGeneration == b.ObservedGeneration &&
		(a.TerminatingReplicas == b.TerminatingReplicas || a.TerminatingReplicas != nil && b.TerminatingReplicas != nil && *a.TerminatingReplicas == *b.TerminatingReplicas) &&
		slices.Equal(a.Conditions, b.Conditions)
}
