package nodelifecycle

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// pace is the pause between nodes of a zone that are emptied, slowPace
	// that of a large zone of which most nodes are not ready.
	pace     = 10 * time.Second
	slowPace = 100 * time.Second
	// large is how many nodes a large zone has more than.
	large = 50
	// most is the share of nodes not ready from which on a zone is disrupted.
	most = 0.55
)

// zones knows how many nodes of each zone are ready. When many are not, it is
// more likely the network, or this process, that fails than the nodes.
type zones map[string]*zone

type zone struct {
	nodes map[string]bool // whether ready
	next  time.Time       // when the next node may be emptied
}

func zoneOf(n *corev1.Node) string {
	return n.Labels[corev1.LabelTopologyRegion] + "/" + n.Labels[corev1.LabelTopologyZone]
}

// note takes note of a node, and tells whether its readiness changed.
func (z zones) note(n *corev1.Node) (changed bool) {
	name := zoneOf(n)
	for other, v := range z {
		if _, there := v.nodes[n.Name]; there && other != name {
			z.drop(other, n.Name)
			changed = true
			break
		}
	}
	v := z[name]
	if v == nil {
		v = &zone{nodes: map[string]bool{}}
		z[name] = v
	}
	ready := readiness(n) == corev1.ConditionTrue
	was, there := v.nodes[n.Name]
	v.nodes[n.Name] = ready
	return changed || !there || was != ready
}

func (z zones) forget(n *corev1.Node) { z.drop(zoneOf(n), n.Name) }

func (z zones) drop(zone, node string) {
	if v := z[zone]; v != nil {
		if delete(v.nodes, node); len(v.nodes) == 0 {
			delete(z, zone)
		}
	}
}

func (v *zone) unready() (n int) {
	for _, ready := range v.nodes {
		if !ready {
			n++
		}
	}
	return n
}

// allDown tells whether no node at all is ready.
func (z zones) allDown() bool {
	for _, v := range z {
		if v.unready() < len(v.nodes) {
			return false
		}
	}
	return true
}

// mayEmpty tells whether a node that is not ready may be emptied of its pods,
// where already says that it is being. If it has to wait for its turn, wait is
// how long.
func (z zones) mayEmpty(n *corev1.Node, already bool, now time.Time) (may bool, wait time.Duration) {
	if z.allDown() {
		return false, 0
	}
	v := z[zoneOf(n)]
	if already || v == nil {
		return true, 0
	}
	step := pace
	down := v.unready()
	if down > 2 && down < len(v.nodes) && float64(down)/float64(len(v.nodes)) >= most {
		if len(v.nodes) <= large {
			return false, 0
		}
		step = slowPace
	}
	if wait = v.next.Sub(now); wait > 0 {
		return false, wait
	}
	v.next = now.Add(step)
	return true, 0
}
