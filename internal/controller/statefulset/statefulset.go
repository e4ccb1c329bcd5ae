// Package statefulset keeps the pods of StatefulSets: each has a name, a host
// name and volumes that stay, and they come, go and change in order.
package statefulset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the StatefulSet controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	events    record.EventRecorder
	sets      appslisters.StatefulSetLister
	claims    corelisters.PersistentVolumeClaimLister
	pods      cache.Indexer
	revisions cache.Indexer
	pending   *controller.Pending
}

const workers = 10

var kind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	apps, core := c.Informers.Apps().V1(), c.Informers.Core().V1()
	s := &Controller{
		Config: c, events: c.Events.For("statefulset-controller"),
		sets: apps.StatefulSets().Lister(), claims: core.PersistentVolumeClaims().Lister(),
		pods:      controller.IndexByOwner(core.Pods().Informer()),
		revisions: controller.IndexByOwner(apps.ControllerRevisions().Informer()),
		pending:   controller.NewPending(c.Clock),
	}
	s.Loop = controller.NewLoop("statefulset-controller", c, workers, s.sync)
	s.Watch(apps.StatefulSets().Informer(), controller.On(func(before, now *appsv1.StatefulSet) {
		if now == nil {
			s.pending.Forget(before.UID)
			return
		}
		s.Add(controller.KeyOf(now))
	}))
	s.Watch(core.Pods().Informer(), controller.On(s.podChanged))
	s.Need(core.PersistentVolumeClaims().Informer())
	s.Watch(apps.ControllerRevisions().Informer(), controller.On(func(before, now *appsv1.ControllerRevision) {
		if ref := controller.NewOf(before, now, kind.Kind); ref != nil && s.pending.Created(ref.UID) == controller.Complete {
			s.Add(controller.Key{Namespace: now.Namespace, Name: ref.Name})
		}
	}))
	return s
}

func (s *Controller) podChanged(before, now *corev1.Pod) {
	s.pending.Saw(before, now, kind.Kind)
	for _, p := range []*corev1.Pod{before, now} {
		if p == nil {
			continue
		}
		if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
			if ref.Kind == kind.Kind {
				s.Add(controller.Key{Namespace: p.Namespace, Name: ref.Name})
			}
			continue
		}
		if p != now || before != nil && maps.Equal(before.Labels, now.Labels) {
			continue
		}
		all, _ := s.sets.StatefulSets(p.Namespace).List(labels.Everything())
		for _, v := range all {
			if _, ours := ordinalOf(v.Name, p.Name); ours {
				s.Add(controller.KeyOf(v))
			}
		}
	}
}

func (s *Controller) sync(ctx context.Context, key controller.Key) error {
	set, err := s.sets.StatefulSets(key.Namespace).Get(key.Name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	if wait := s.pending.Wait(set.UID); wait > 0 {
		s.AddAfter(key, wait)
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return err
	}
	client := s.Client.AppsV1().StatefulSets(key.Namespace)
	claim := controller.Claim[corev1.Pod]{
		Owner: set, Kind: kind, Selector: selector,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return client.Get(ctx, key.Name, metav1.GetOptions{})
		},
		Patch: func(ctx context.Context, name string, patch []byte) error {
			_, err := s.Client.CoreV1().Pods(key.Namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		Adoptable: func(p *corev1.Pod) bool { _, ours := ordinalOf(set.Name, p.Name); return ours },
	}
	pods, err := claim.Of(ctx, controller.Owned[corev1.Pod](s.pods, set.UID), controller.Orphans[corev1.Pod](s.pods, key.Namespace))
	if err != nil {
		return err
	}
	have := controller.Owned[appsv1.ControllerRevision](s.revisions, set.UID)
	collided := collisionsOf(set)
	update, collisions, err := controller.UpdateRevision(ctx, s.Client, s.pending, set, kind, &set.Spec.Template, have, collided)
	if err != nil {
		if collisions != collided {
			status := set.Status
			status.CollisionCount = collisions
			err = errors.Join(err, s.writeStatus(ctx, set, status))
		}
		if controller.NamespaceEnds(err) {
			return nil
		}
		return err
	}
	current := update
	for _, r := range have {
		if r.Name == set.Status.CurrentRevision {
			current = r
		}
	}
	p := newPlan(set, pods, current.Name, update.Name, s.Clock.Now())
	if p.next > 0 {
		s.AddAfter(key, p.next)
	}
	failed := s.apply(ctx, set, p, pods, current)
	err = errors.Join(failed, s.writeStatus(ctx, set, p.status))
	if err != nil || set.DeletionTimestamp != nil {
		return err
	}
	return controller.TruncateRevisions(ctx, s.Client, have, set.Spec.RevisionHistoryLimit, func(r *appsv1.ControllerRevision) bool {
		return r.Name == current.Name || r.Name == update.Name ||
			slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return revisionOf(p) == r.Name })
	})
}

func (s *Controller) writeStatus(ctx context.Context, set *appsv1.StatefulSet, status appsv1.StatefulSetStatus) error {
	if equality.Semantic.DeepEqual(set.Status, status) {
		return nil
	}
	w := *set
	w.Status = status
	_, err := s.Client.AppsV1().StatefulSets(set.Namespace).UpdateStatus(ctx, &w, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}

func (s *Controller) apply(ctx context.Context, set *appsv1.StatefulSet, p plan, pods []*corev1.Pod, current *appsv1.ControllerRevision) error {
	if err := s.identify(ctx, set, pods); err != nil {
		return err
	}
	for _, pod := range pods {
		if err := s.retain(ctx, set, pod); err != nil {
			return err
		}
	}
	old := set
	if slices.ContainsFunc(p.actions, func(a action) bool { return a.pod == nil && a.current }) {
		template, err := controller.TemplateOf(current)
		if err != nil {
			return err
		}
		w := *set
		w.Spec.Template = *template
		old = &w
	}
	_, err := controller.AllAtOnce(len(p.actions), func(i int) error {
		switch a := p.actions[i]; {
		case a.pod != nil:
			return s.delete(ctx, set, a.pod)
		case a.current:
			return s.create(ctx, old, a.ordinal, p.status.CurrentRevision)
		default:
			return s.create(ctx, set, a.ordinal, p.status.UpdateRevision)
		}
	})
	return err
}

func (s *Controller) create(ctx context.Context, set *appsv1.StatefulSet, ordinal int, revision string) error {
	pod := podOf(set, ordinal, revision)
	err := s.claim(ctx, set, pod)
	if err == nil {
		s.pending.Create(set.UID, 1)
		_, err = s.Client.CoreV1().Pods(set.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			s.pending.Create(set.UID, -1)
		}
		if apierrors.IsAlreadyExists(err) {
			return controller.ErrNotYet // another's pod has the name
		}
	}
	switch {
	case err == nil:
		s.events.Eventf(set, corev1.EventTypeNormal, "SuccessfulCreate", "Create Pod %s in StatefulSet %s successful", pod.Name, set.Name)
	case controller.NamespaceEnds(err):
		return nil
	case ctx.Err() == nil:
		s.events.Eventf(set, corev1.EventTypeWarning, "FailedCreate", "Create Pod %s in StatefulSet %s failed error: %s", pod.Name, set.Name, err)
	}
	return err
}

func (s *Controller) delete(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	s.pending.Delete(set.UID, pod.UID)
	err := s.Client.CoreV1().Pods(set.Namespace).Delete(ctx, pod.Name, *metav1.NewPreconditionDeleteOptions(string(pod.UID)))
	if err != nil {
		s.pending.Deleted(set.UID, pod.UID)
	}
	switch {
	case err == nil:
		s.events.Eventf(set, corev1.EventTypeNormal, "SuccessfulDelete", "Delete Pod %s in StatefulSet %s successful", pod.Name, set.Name)
	case controller.GoneOrChanged(err) == nil:
		return nil
	case ctx.Err() == nil:
		s.events.Eventf(set, corev1.EventTypeWarning, "FailedDelete", "Delete Pod %s in StatefulSet %s failed error: %s", pod.Name, set.Name, err)
	}
	return err
}

// podOf returns the set's pod of an ordinal.
func podOf(set *appsv1.StatefulSet, ordinal int, revision string) *corev1.Pod {
	p := controller.PodOf(&set.Spec.Template, set, kind)
	p.GenerateName, p.Name = set.Name+"-", podName(set.Name, ordinal)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	maps.Copy(p.Labels, identity(p.Name, ordinal))
	p.Labels[appsv1.ControllerRevisionHashLabelKey] = revision
	p.Spec.Hostname, p.Spec.Subdomain = p.Name, set.Spec.ServiceName
	for i := range set.Spec.VolumeClaimTemplates {
		t := &set.Spec.VolumeClaimTemplates[i]
		v := corev1.Volume{Name: t.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(t.Name, p.Name)},
		}}
		if j := slices.IndexFunc(p.Spec.Volumes, func(o corev1.Volume) bool { return o.Name == t.Name }); j >= 0 {
			p.Spec.Volumes[j] = v
		} else {
			p.Spec.Volumes = append(p.Spec.Volumes, v)
		}
	}
	return p
}

func identity(name string, ordinal int) map[string]string {
	return map[string]string{appsv1.StatefulSetPodNameLabel: name, appsv1.PodIndexLabel: fmt.Sprint(ordinal)}
}

// identify puts the labels of their identity on pods that lost them, or were
// adopted without.
func (s *Controller) identify(ctx context.Context, set *appsv1.StatefulSet, pods []*corev1.Pod) error {
	for _, p := range pods {
		n, ok := ordinalOf(set.Name, p.Name)
		if !ok || p.DeletionTimestamp != nil || p.Labels[appsv1.StatefulSetPodNameLabel] == p.Name && p.Labels[appsv1.PodIndexLabel] == fmt.Sprint(n) {
			continue
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID, "labels": identity(p.Name, n)}})
		if err != nil {
			return err
		}
		_, err = s.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType, body, metav1.PatchOptions{})
		if err := controller.GoneOrChanged(err); err != nil {
			return err
		}
	}
	return nil
}
