// Package nodelifecycle judges nodes by what their kubelets post: a node that
// has been silent for too long becomes Unknown, nodes are tainted after their
// conditions, and pods that do not tolerate a NoExecute taint are evicted.
//
// Silence is measured by this process's clock, from when it last saw a sign of
// life, and starts anew when it starts or was itself stalled: its own downtime
// is never taken for the death of a node. A node has one timer, for the next
// moment that anything can change.
package nodelifecycle

import (
	"context"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

const (
	workers = 8
	// grace is how long a node may be silent; startGrace is that of a node that
	// has never posted its status.
	grace      = 50 * time.Second
	startGrace = 60 * time.Second
	// stall is by how much a timer may be late before the process counts as
	// having been stalled.
	stall = 5 * time.Second
)

// Controller is the node lifecycle controller.
type Controller struct {
	*controller.Loop[string]
	Config
	events    record.EventRecorder // of nodes and their pods
	evictions record.EventRecorder
	nodes     corelisters.NodeLister
	pods      cache.Indexer

	mu    sync.Mutex
	known map[string]*known
	zones zones
}

// known is what the controller remembers of a node.
type known struct {
	uid   types.UID
	seen  time.Time // last sign of life
	due   time.Time // of the timer for its silence
	ready bool      // as of the last sync
	// marked is the transition for which pods have been marked not ready.
	marked metav1.Time
	// going are the pods that do not endure the node's taints forever, and
	// since when they have to. By this process's clock: what was due while it
	// was away has its time again.
	going map[types.UID]time.Time
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	nodes, pods := c.Informers.Core().V1().Nodes(), c.Informers.Core().V1().Pods()
	n := &Controller{
		Config: c, events: c.Events.For("node-controller"), evictions: c.Events.For("taint-eviction-controller"),
		nodes: nodes.Lister(), pods: controller.IndexByNode(pods.Informer()),
		known: map[string]*known{}, zones: zones{},
	}
	n.Loop = controller.NewLoop("node-lifecycle-controller", c, workers, n.sync)
	n.Watch(nodes.Informer(), controller.On(n.nodeChanged))
	n.Watch(c.Informers.Coordination().V1().Leases().Informer(), controller.On(func(before, now *coordinationv1.Lease) {
		if now != nil && now.Namespace == corev1.NamespaceNodeLease && (before == nil || !before.Spec.RenewTime.Equal(now.Spec.RenewTime)) {
			n.alive(now.Name)
		}
	}))
	n.Watch(pods.Informer(), controller.On(n.podChanged))
	return n
}

// alive takes note of a sign of life. It wakes nobody: the node's timer will
// find it.
func (n *Controller) alive(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k := n.known[node]; k != nil {
		k.seen = n.Clock.Now()
	}
}

func (n *Controller) nodeChanged(before, now *corev1.Node) {
	if now == nil {
		n.mu.Lock()
		delete(n.known, before.Name)
		n.zones.forget(before)
		n.mu.Unlock()
		n.events.Eventf(before, corev1.EventTypeNormal, "RemovingNode", "Node %s event: Removing Node %s from Controller", before.Name, before.Name)
		return
	}
	n.mu.Lock()
	k := n.known[now.Name]
	if k == nil || k.uid != now.UID {
		k = &known{uid: now.UID, seen: n.Clock.Now(), ready: true, going: map[types.UID]time.Time{}}
		n.known[now.Name] = k
		defer n.events.Eventf(now, corev1.EventTypeNormal, "RegisteredNode", "Node %s event: Registered Node %s in Controller", now.Name, now.Name)
	}
	if before != nil && posted(before, now) {
		k.seen = n.Clock.Now()
	}
	others := n.zones.note(now)
	n.mu.Unlock()
	if before == nil || before.Spec.Unschedulable != now.Spec.Unschedulable || !equality.Semantic.DeepEqual(before.Spec.Taints, now.Spec.Taints) ||
		judged(before) != judged(now) {
		n.Add(now.Name)
	}
	if others {
		n.addUnready()
	}
}

// addUnready has all nodes that are not ready looked at again: whether they may
// be emptied depends on how many they are.
func (n *Controller) addUnready() {
	all, _ := n.nodes.List(labels.Everything())
	for _, v := range all {
		if readiness(v) != corev1.ConditionTrue {
			n.Add(v.Name)
		}
	}
}

// posted tells whether the kubelet, and not this controller, wrote.
func posted(before, now *corev1.Node) bool {
	b, n := controller.NodeCondition(before, corev1.NodeReady), controller.NodeCondition(now, corev1.NodeReady)
	return n != nil && n.Reason != neverUpdated && (b == nil || !b.LastHeartbeatTime.Equal(&n.LastHeartbeatTime))
}

func (n *Controller) podChanged(before, now *corev1.Pod) {
	if now == nil || now.Spec.NodeName == "" {
		return
	}
	node, err := n.nodes.Get(now.Spec.NodeName)
	if err != nil {
		return
	}
	bound := before == nil || before.Spec.NodeName == ""
	if len(executing(node)) > 0 && (bound || !equality.Semantic.DeepEqual(before.Spec.Tolerations, now.Spec.Tolerations)) {
		n.Add(node.Name)
	}
}

func (n *Controller) sync(ctx context.Context, name string) error {
	node, err := n.nodes.Get(name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	if node, err = n.listen(ctx, node); err != nil {
		return controller.IgnoreNotFound(err)
	}
	if err := n.unready(ctx, node); err != nil {
		return err
	}
	if node, err = n.taint(ctx, node); err != nil {
		return controller.IgnoreNotFound(err)
	}
	return n.evict(ctx, node)
}

// listen makes a node Unknown that has been silent for too long.
func (n *Controller) listen(ctx context.Context, node *corev1.Node) (*corev1.Node, error) {
	now := n.Clock.Now()
	patience := grace
	if controller.NodeCondition(node, corev1.NodeReady) == nil {
		patience = startGrace
	}
	n.mu.Lock()
	k := n.known[node.Name]
	if k == nil {
		n.mu.Unlock()
		return node, nil
	}
	if !k.due.IsZero() && now.Sub(k.due) > stall {
		// This process slept through the node's deadline, and through whatever
		// the node had to say.
		for _, o := range n.known {
			o.seen = now
		}
	}
	// There is a look in between, so that a stall of this process, unless it is
	// short, makes one of the two late.
	for _, at := range []time.Time{k.seen.Add(patience * 7 / 10), k.seen.Add(patience)} {
		if now.Before(at) {
			k.due = at
			n.mu.Unlock()
			n.AddAfter(node.Name, at.Sub(now))
			return node, nil
		}
	}
	k.due = time.Time{}
	n.mu.Unlock()

	w := silenced(node, metav1.NewTime(now))
	if w == nil {
		return node, nil
	}
	return n.Client.CoreV1().Nodes().UpdateStatus(ctx, w, metav1.UpdateOptions{})
}

// unready marks the pods of a node that is not ready as not ready either, once:
// a kubelet that can say no more than what its pods are like would say it again.
func (n *Controller) unready(ctx context.Context, node *corev1.Node) error {
	c := controller.NodeCondition(node, corev1.NodeReady)
	n.mu.Lock()
	k := n.known[node.Name]
	if k == nil || c == nil {
		n.mu.Unlock()
		return nil
	}
	was := k.ready
	k.ready = c.Status == corev1.ConditionTrue
	if k.ready || k.marked.Equal(&c.LastTransitionTime) {
		n.mu.Unlock()
		return nil
	}
	n.mu.Unlock()
	if was {
		n.events.Eventf(node, corev1.EventTypeNormal, "NodeNotReady", "Node %s status is now: NodeNotReady", node.Name)
	}
	pods := controller.PodsOn(n.pods, node.Name)
	_, err := controller.AllAtOnce(len(pods), func(i int) error {
		p := pods[i]
		if _, ready := controller.PodReady(p); !ready {
			return nil
		}
		n.events.Event(p, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
		w := p.DeepCopy()
		is := controller.PodCondition(w, corev1.PodReady)
		is.Status, is.LastTransitionTime = corev1.ConditionFalse, metav1.NewTime(n.Clock.Now())
		_, err := n.Client.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, w, metav1.UpdateOptions{})
		return controller.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("unable to mark all pods NotReady on node %v: %w", node.Name, err)
	}
	n.mu.Lock()
	k.marked = c.LastTransitionTime
	n.mu.Unlock()
	return nil
}
