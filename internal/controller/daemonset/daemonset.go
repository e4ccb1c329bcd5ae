// Package daemonset keeps one pod of each DaemonSet on every node where it
// belongs. The pods are made for their nodes; the scheduler binds them.
package daemonset

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
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

// Controller is the DaemonSet controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	events    record.EventRecorder
	sets      appslisters.DaemonSetLister
	nodes     corelisters.NodeLister
	pods      cache.Indexer
	revisions cache.Indexer
	writer    controller.PodWriter
	pending   *controller.Pending

	mu     sync.Mutex
	failed map[place]failures
}

// place is a set on a node; failures are how often pods have ended there.
type place struct {
	set  types.UID
	node string
}

type failures struct {
	n    int
	last time.Time
}

const (
	workers = 2
	burst   = 250
	// Pods that end by themselves are replaced after a pause that doubles.
	firstPause = time.Second
	lastPause  = 15 * time.Minute
)

var kind = appsv1.SchemeGroupVersion.WithKind("DaemonSet")

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	apps, core := c.Informers.Apps().V1(), c.Informers.Core().V1()
	events := c.Events.For("daemonset-controller")
	d := &Controller{
		Config: c, events: events, sets: apps.DaemonSets().Lister(), nodes: core.Nodes().Lister(),
		pods:      controller.IndexByOwner(core.Pods().Informer()),
		revisions: controller.IndexByOwner(apps.ControllerRevisions().Informer()),
		writer:    controller.PodWriter{Client: c.Client, Events: events},
		pending:   controller.NewPending(c.Clock), failed: map[place]failures{},
	}
	d.Loop = controller.NewLoop("daemonset-controller", c, workers, d.sync)
	d.Watch(apps.DaemonSets().Informer(), controller.On(d.setChanged))
	d.Watch(core.Pods().Informer(), controller.On(d.podChanged))
	d.Watch(apps.ControllerRevisions().Informer(), controller.On(func(before, now *appsv1.ControllerRevision) {
		if ref := controller.NewOf(before, now, kind.Kind); ref != nil && d.pending.Created(ref.UID) == controller.Complete {
			d.Add(controller.Key{Namespace: now.Namespace, Name: ref.Name})
		}
	}))
	d.Watch(core.Nodes().Informer(), controller.On(d.nodeChanged))
	return d
}

func (d *Controller) setChanged(before, now *appsv1.DaemonSet) {
	if now != nil {
		d.Add(controller.KeyOf(now))
		return
	}
	d.pending.Forget(before.UID)
	d.mu.Lock()
	maps.DeleteFunc(d.failed, func(p place, _ failures) bool { return p.set == before.UID })
	d.mu.Unlock()
}

// nodeChanged resyncs all sets when a node comes, goes, or changes in what
// decides about its pods.
func (d *Controller) nodeChanged(before, now *corev1.Node) {
	if before != nil && now != nil && maps.Equal(before.Labels, now.Labels) && equality.Semantic.DeepEqual(before.Spec.Taints, now.Spec.Taints) {
		return
	}
	all, _ := d.sets.List(labels.Everything())
	for _, ds := range all {
		d.Add(controller.KeyOf(ds))
	}
}

func (d *Controller) podChanged(before, now *corev1.Pod) {
	if d.pending.Saw(before, now, kind.Kind) == controller.More {
		return
	}
	for _, p := range []*corev1.Pod{before, now} {
		if p == nil {
			continue
		}
		if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
			if ref.Kind == kind.Kind {
				d.Add(controller.Key{Namespace: p.Namespace, Name: ref.Name})
			}
			continue
		}
		if p != now || before != nil && maps.Equal(before.Labels, now.Labels) {
			continue
		}
		all, _ := d.sets.DaemonSets(p.Namespace).List(labels.Everything())
		for _, v := range all {
			if s, err := metav1.LabelSelectorAsSelector(v.Spec.Selector); err == nil && !s.Empty() && s.Matches(labels.Set(p.Labels)) {
				d.Add(controller.KeyOf(v))
			}
		}
	}
}

func (d *Controller) sync(ctx context.Context, key controller.Key) error {
	ds, err := d.sets.DaemonSets(key.Namespace).Get(key.Name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	if wait := d.pending.Wait(ds.UID); wait > 0 {
		d.AddAfter(key, wait)
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err != nil {
		return err
	}
	if selector.Empty() {
		d.events.Event(ds, corev1.EventTypeWarning, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.")
		return nil
	}
	if ds.DeletionTimestamp != nil {
		return nil
	}
	client := d.Client.AppsV1().DaemonSets(key.Namespace)
	claim := controller.Claim[corev1.Pod]{
		Owner: ds, Kind: kind, Selector: selector,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return client.Get(ctx, key.Name, metav1.GetOptions{})
		},
		Patch: func(ctx context.Context, name string, patch []byte) error {
			_, err := d.Client.CoreV1().Pods(key.Namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
	}
	pods, err := claim.Of(ctx, controller.Owned[corev1.Pod](d.pods, ds.UID), controller.Orphans[corev1.Pod](d.pods, key.Namespace))
	if err != nil {
		return err
	}
	have := controller.Owned[appsv1.ControllerRevision](d.revisions, ds.UID)
	revision, collisions, err := controller.UpdateRevision(ctx, d.Client, d.pending, ds, kind, &ds.Spec.Template, have, ds.Status.CollisionCount)
	if err != nil {
		if collisions != ds.Status.CollisionCount {
			status := ds.Status
			status.CollisionCount = collisions
			err = errors.Join(err, d.writeStatus(ctx, ds, status))
		}
		if controller.NamespaceEnds(err) {
			return nil
		}
		return err
	}
	nodes, err := d.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	hash := strings.TrimPrefix(revision.Name, ds.Name+"-")
	p := newPlan(ds, nodes, pods, podOf(ds, "", hash), hash, d.Clock.Now())
	failed := d.apply(ctx, ds, key, &p, hash)
	if p.next > 0 {
		d.AddAfter(key, p.next)
	}
	if err := errors.Join(failed, d.writeStatus(ctx, ds, p.status)); err != nil {
		return err
	}
	return controller.TruncateRevisions(ctx, d.Client, have, ds.Spec.RevisionHistoryLimit, func(r *appsv1.ControllerRevision) bool {
		return r.Name == revision.Name || slices.ContainsFunc(pods, func(p *corev1.Pod) bool {
			return ds.Name+"-"+p.Labels[appsv1.ControllerRevisionHashLabelKey] == r.Name
		})
	})
}

func (d *Controller) writeStatus(ctx context.Context, ds *appsv1.DaemonSet, status appsv1.DaemonSetStatus) error {
	if equality.Semantic.DeepEqual(ds.Status, status) {
		return nil
	}
	w := *ds
	w.Status = status
	_, err := d.Client.AppsV1().DaemonSets(ds.Namespace).UpdateStatus(ctx, &w, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}

func (d *Controller) apply(ctx context.Context, ds *appsv1.DaemonSet, key controller.Key, p *plan, hash string) error {
	remove := slices.DeleteFunc(p.delete, func(pod *corev1.Pod) bool { return d.pause(ds, key, p, pod) })
	remove = remove[:min(len(remove), burst)]
	create := p.create[:min(len(p.create), burst)]
	d.pending.Create(ds.UID, len(create))
	made, err1 := controller.SlowStart(len(create), func(i int) error {
		_, err := d.writer.Create(ctx, ds, podOf(ds, create[i], hash))
		return err
	})
	if made < len(create) {
		d.pending.Create(ds.UID, made-len(create))
	}
	if controller.NamespaceEnds(err1) {
		err1 = nil
	}
	_, err2 := controller.AllAtOnce(len(remove), func(i int) error {
		pod := remove[i]
		d.pending.Delete(ds.UID, pod.UID)
		err := d.writer.Delete(ctx, ds, pod.Name, pod.UID)
		if err != nil {
			d.pending.Deleted(ds.UID, pod.UID)
		}
		return controller.GoneOrChanged(err)
	})
	return errors.Join(err1, err2)
}

// pause tells whether a pod that ended by itself stays for now, so that one
// that cannot run is not made over and over.
func (d *Controller) pause(ds *appsv1.DaemonSet, key controller.Key, p *plan, pod *corev1.Pod) bool {
	if !slices.Contains(p.ended, pod) {
		return false
	}
	now := d.Clock.Now()
	at := place{ds.UID, nodeOf(pod)}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.failed[at]
	wait := min(firstPause<<min(f.n, 20), lastPause)
	if f.n == 0 || now.Sub(f.last) > 2*lastPause {
		f.n, wait = 0, 0
	}
	if left := f.last.Add(wait).Sub(now); wait > 0 && left > 0 {
		p.next = controller.Sooner(p.next, left)
		return true
	}
	d.failed[at] = failures{f.n + 1, now}
	reason, what := "FailedDaemonPod", "failed"
	if pod.Status.Phase == corev1.PodSucceeded {
		reason, what = "SucceededDaemonPod", "succeeded"
	}
	d.events.Eventf(ds, corev1.EventTypeWarning, reason, "Found %s daemon pod %s/%s on node %s, will try to delete it", what, pod.Namespace, pod.Name, at.node)
	return false
}

// podOf returns the set's pod for a node. It tolerates what a node may be in,
// for it is what makes nodes well (KEP-548 and upstream's list).
func podOf(ds *appsv1.DaemonSet, node, hash string) *corev1.Pod {
	p := controller.PodOf(&ds.Spec.Template, ds, kind)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Labels[appsv1.ControllerRevisionHashLabelKey] = hash
	if g := ds.Annotations[appsv1.DeprecatedTemplateGeneration]; g != "" {
		p.Labels["pod-template-generation"] = g
	}
	tolerate := func(key string, effect corev1.TaintEffect) {
		t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: effect}
		if !slices.ContainsFunc(p.Spec.Tolerations, func(o corev1.Toleration) bool { return o.MatchToleration(&t) }) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, t)
		}
	}
	tolerate(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute)
	tolerate(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
	tolerate(corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule)
	tolerate(corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule)
	tolerate(corev1.TaintNodePIDPressure, corev1.TaintEffectNoSchedule)
	tolerate(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	if p.Spec.HostNetwork {
		tolerate(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule)
	}
	if node != "" {
		bindTo(p, node)
	}
	return p
}

// bindTo lets the scheduler put the pod on no other node. What its affinity
// required besides was found to hold for that node.
func bindTo(p *corev1.Pod, node string) {
	if p.Spec.Affinity == nil {
		p.Spec.Affinity = &corev1.Affinity{}
	}
	if p.Spec.Affinity.NodeAffinity == nil {
		p.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
			{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}},
		}}},
	}
}
