package scheduler

import (
	v1 "k8s.io/api/core/v1"
)

// scope is what a plugin's verdict on a node depends on, besides the pod.
type scope int

const (
	onNode    scope = iota // the node object
	onPods                 // the pods on the node as well
	onCluster              // pods on other nodes as well
)

// failure says why a pod does not fit a node. Failures are shared and never
// changed.
type failure struct {
	plugin  string
	reasons []string
	// final means that taking pods off the node does not help.
	final bool
}

// scale is how raw scores become those from 0 to 100.
type scale int

const (
	asIs    scale = iota
	upward        // the highest becomes 100
	reverse       // the highest becomes 0
)

// plugin is one row of the profile. A nil function means that the plugin has
// no such part.
type plugin struct {
	name  string
	scope scope
	// skips tells that the plugin has nothing to say on pods of a class.
	skipsFilter func(*class) bool
	filter      func(*class, *node) *failure

	weight     int64
	scale      scale
	skipsScore func(*class, *index) bool
	score      func(*class, *node, *index) int64
}

// clusterPlugin looks at the whole cluster once for each pod.
type clusterPlugin struct {
	name   string
	weight int64
	// prepare returns nil if the plugin has nothing to say on the pod.
	prepare func(*index, *v1.Pod, *class, namespaces) clusterState
}

// clusterState is what a clusterPlugin found, for one pod.
type clusterState interface {
	filter(*node) *failure
	// scores gives each node one from 0 to 100; nil if they are all the same.
	scores([]*node) []int64
	// shift has filter count a pod once more (by 1) or once less (by -1).
	shift(p *placed, by int)
}

// namespaces gives the labels of a namespace, for selectors of namespaces.
type namespaces func(name string) map[string]string

// profile holds the plugins in upstream's default order and with its weights.
// SchedulingGates and PrioritySort are the queue's: see queue.admit and
// before. DefaultPreemption is tried when no node was found: see preempt.
func profile() []plugin {
	return []plugin{
		nodeAffinityNames(),
		nodeUnschedulable(),
		nodeName(),
		taintToleration(),
		nodeAffinity(),
		nodePorts(),
		nodeResourcesFit(),
		nodeResourcesBalancedAllocation(),
		imageLocality(),
	}
}

func clusterProfile(v *volumes) []clusterPlugin {
	return []clusterPlugin{
		v.plugin(),
		podTopologySpread(),
		interPodAffinity(),
	}
}
