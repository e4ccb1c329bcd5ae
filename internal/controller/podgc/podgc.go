// Package podgc removes pods that nobody else removes: those on nodes that are
// gone or out of service, those deleted before they had a node, and the oldest
// of too many that have ended.
package podgc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

const (
	// kept is how many pods that have ended stay for people to look at.
	kept = 12500
	// quarantine is how long a node is missing before its pods are removed, in
	// case it is registered anew.
	quarantine = 40 * time.Second

	reason = "DeletionByPodGC"
)

// task is one thing to look at.
type task struct {
	kind taskKind
	name controller.Key
}

type taskKind uint8

const (
	ended   taskKind = iota // pods that have ended, all of them
	unbound                 // a pod that is deleted and has no node
	missing                 // a node that is not there
	unfit                   // a node that is out of service
)

// Controller is the pods' garbage collector.
type Controller struct {
	*controller.Loop[task]
	Config
	kept     int
	pods     corelisters.PodLister
	podIndex cache.Indexer
	nodes    corelisters.NodeLister

	mu    sync.Mutex
	ended map[types.UID]struct{} // as the cache has them
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	pods, nodes := c.Informers.Core().V1().Pods(), c.Informers.Core().V1().Nodes()
	g := &Controller{
		Config: c, kept: kept, pods: pods.Lister(), podIndex: controller.IndexByNode(pods.Informer()), nodes: nodes.Lister(),
		ended: map[types.UID]struct{}{},
	}
	g.Loop = controller.NewLoop("pod-garbage-collector", c, 4, g.sync)
	g.Watch(nodes.Informer(), controller.On(g.nodeChanged))
	g.Watch(pods.Informer(), controller.On(g.podChanged))
	return g
}

func (g *Controller) nodeChanged(before, now *corev1.Node) {
	switch {
	case now == nil:
		g.AddAfter(task{missing, controller.Key{Name: before.Name}}, quarantine)
	case outOfService(now):
		g.Add(task{unfit, controller.Key{Name: now.Name}})
	}
}

func (g *Controller) podChanged(before, now *corev1.Pod) {
	g.mu.Lock()
	if before != nil {
		delete(g.ended, before.UID)
	}
	if now != nil && controller.PodEnded(now) && now.DeletionTimestamp == nil {
		g.ended[now.UID] = struct{}{}
	}
	many := len(g.ended) > g.kept
	g.mu.Unlock()
	if many {
		g.Add(task{kind: ended})
	}
	if now == nil {
		return
	}
	deleted := now.DeletionTimestamp != nil && (before == nil || before.DeletionTimestamp == nil)
	if now.Spec.NodeName == "" {
		if deleted {
			g.Add(task{unbound, controller.KeyOf(now)})
		}
		return
	}
	bound := before == nil || before.Spec.NodeName == ""
	if !bound && !deleted {
		return
	}
	node := controller.Key{Name: now.Spec.NodeName}
	if n, err := g.nodes.Get(node.Name); apierrors.IsNotFound(err) {
		g.AddAfter(task{missing, node}, quarantine)
	} else if err == nil && deleted && outOfService(n) {
		g.Add(task{unfit, node})
	}
}

// outOfService tells whether someone vouches for it that the node has stopped
// (KEP-2268).
func outOfService(n *corev1.Node) bool {
	ready := controller.NodeCondition(n, corev1.NodeReady)
	return ready != nil && ready.Status != corev1.ConditionTrue &&
		slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}

func (g *Controller) sync(ctx context.Context, t task) error {
	switch t.kind {
	case ended:
		return g.removeEnded(ctx)
	case unbound:
		p, err := g.pods.Pods(t.name.Namespace).Get(t.name.Name)
		if err != nil || p.DeletionTimestamp == nil || p.Spec.NodeName != "" {
			return controller.IgnoreNotFound(err)
		}
		return controller.ForceDelete(ctx, g.Client, p)
	case missing:
		return g.removeOrphans(ctx, t.name.Name)
	}
	n, err := g.nodes.Get(t.name.Name)
	if err != nil || !outOfService(n) {
		return controller.IgnoreNotFound(err)
	}
	return g.remove(ctx, controller.PodsOn(g.podIndex, n.Name), func(p *corev1.Pod) bool {
		return p.DeletionTimestamp != nil
	}, "")
}

func (g *Controller) removeOrphans(ctx context.Context, node string) error {
	if _, err := g.nodes.Get(node); !apierrors.IsNotFound(err) {
		return err
	}
	pods := controller.PodsOn(g.podIndex, node)
	if len(pods) == 0 {
		return nil
	}
	// The cache of nodes may be behind that of pods; the API is asked last.
	if _, err := g.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return err
	}
	return g.remove(ctx, pods, nil, "PodGC: node no longer exists")
}

// remove fails and deletes the pods that are wanted, side by side.
func (g *Controller) remove(ctx context.Context, pods []*corev1.Pod, want func(*corev1.Pod) bool, message string) error {
	if want != nil {
		pods = slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return !want(p) })
	}
	_, err := controller.AllAtOnce(len(pods), func(i int) error {
		p := pods[i]
		if !controller.PodEnded(p) {
			if err := g.fail(ctx, p, message); err != nil {
				return err
			}
		}
		return controller.ForceDelete(ctx, g.Client, p)
	})
	return err
}

func (g *Controller) fail(ctx context.Context, p *corev1.Pod, message string) error {
	if message == "" {
		message = "PodGC: node is out of service"
	}
	return controller.Disrupt(ctx, g.Client, p, reason, message, true, metav1.NewTime(g.Clock.Now()))
}

// removeEnded deletes the ended pods that are too many: evicted ones, and then
// the oldest.
func (g *Controller) removeEnded(ctx context.Context) error {
	all, err := g.pods.List(labels.Everything())
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(p *corev1.Pod) bool { return !controller.PodEnded(p) || p.DeletionTimestamp != nil })
	extra := len(all) - g.kept
	if extra <= 0 {
		return nil
	}
	evicted := func(p *corev1.Pod) int {
		if p.Status.Reason == "Evicted" {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(evicted(a), evicted(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var errs []error
	for batch := range slices.Chunk(all[:extra], 100) {
		_, err := controller.AllAtOnce(len(batch), func(i int) error { return controller.ForceDelete(ctx, g.Client, batch[i]) })
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
