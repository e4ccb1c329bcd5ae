package scheduler

import (
	"math"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// podTopologySpread keeps pods evenly spread over the domains of a topology
// label, strictly or as a preference.
func podTopologySpread() clusterPlugin {
	return clusterPlugin{name: podTopologySpreadName, weight: 2, prepare: preparePodTopologySpread}
}

const podTopologySpreadName = "PodTopologySpread"

type spreadConstraint struct {
	key         string
	maxSkew     int
	selector    labels.Selector
	minDomains  int
	strict      bool
	ignoreNodes bool // do not honor the pod's node affinity
	honorTaints bool
	self        int // 1 if the pod counts itself

	counts map[string]int // pods by value of the label, on nodes that count
	fewest int
}

type spreadState struct {
	namespace           string
	class               *class
	constraints         []spreadConstraint
	stale               bool // fewest is of other counts
	failed, failedLabel *failure
}

func preparePodTopologySpread(x *index, pod *v1.Pod, c *class, _ namespaces) clusterState {
	if len(pod.Spec.TopologySpreadConstraints) == 0 {
		return nil
	}
	s := &spreadState{
		namespace:   pod.Namespace,
		class:       c,
		stale:       true,
		failed:      &failure{podTopologySpreadName, []string{"node(s) didn't match pod topology spread constraints"}, false},
		failedLabel: &failure{podTopologySpreadName, []string{"node(s) didn't match pod topology spread constraints (missing required label)"}, true},
	}
	for i := range pod.Spec.TopologySpreadConstraints {
		s.constraints = append(s.constraints, newSpreadConstraint(pod, &pod.Spec.TopologySpreadConstraints[i]))
	}
	for _, n := range x.nodes {
		s.count(n)
	}
	return s
}

func newSpreadConstraint(pod *v1.Pod, c *v1.TopologySpreadConstraint) spreadConstraint {
	k := spreadConstraint{
		key:         c.TopologyKey,
		maxSkew:     int(c.MaxSkew),
		selector:    selectorOf(c.LabelSelector),
		minDomains:  1,
		strict:      c.WhenUnsatisfiable == v1.DoNotSchedule,
		ignoreNodes: c.NodeAffinityPolicy != nil && *c.NodeAffinityPolicy == v1.NodeInclusionPolicyIgnore,
		honorTaints: c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == v1.NodeInclusionPolicyHonor,
		counts:      map[string]int{},
	}
	if c.MinDomains != nil {
		k.minDomains = int(*c.MinDomains)
	}
	for _, key := range c.MatchLabelKeys {
		if value, ok := pod.Labels[key]; ok {
			if r, err := labels.NewRequirement(key, "in", []string{value}); err == nil {
				k.selector = k.selector.Add(*r)
			}
		}
	}
	if k.selector.Matches(labels.Set(pod.Labels)) {
		k.self = 1
	}
	return k
}

// includes tells whether the pods on a node count for a constraint.
func (k *spreadConstraint) includes(c *class, n *node) bool {
	if !k.ignoreNodes && c.selectsNodes {
		if match, err := c.required.Match(n.obj); err != nil || !match {
			return false
		}
	}
	if k.honorTaints {
		for i := range n.hard {
			if !tolerates(c.tolerations, &n.hard[i]) {
				return false
			}
		}
	}
	return true
}

// counts tells whether a node counts for a constraint. One without the labels
// of all constraints of a sort does not, for that sort.
func (s *spreadState) counts(k *spreadConstraint, n *node) bool {
	for i := range s.constraints {
		if o := &s.constraints[i]; o.strict == k.strict {
			if _, ok := n.obj.Labels[o.key]; !ok {
				return false
			}
		}
	}
	return k.includes(s.class, n)
}

// matches tells whether a pod counts for a constraint.
func (s *spreadState) matches(k *spreadConstraint, pod *v1.Pod) bool {
	return pod.Namespace == s.namespace && pod.DeletionTimestamp == nil && k.selector.Matches(labels.Set(pod.Labels))
}

func (s *spreadState) count(n *node) {
	for i := range s.constraints {
		k := &s.constraints[i]
		if !s.counts(k, n) {
			continue
		}
		value := n.obj.Labels[k.key]
		count := k.counts[value]
		for _, p := range n.pods {
			if s.matches(k, p.pod) {
				count++
			}
		}
		k.counts[value] = count
	}
}

func (s *spreadState) shift(p *placed, by int) {
	for i := range s.constraints {
		if k := &s.constraints[i]; s.matches(k, p.pod) && s.counts(k, p.node) {
			k.counts[p.node.obj.Labels[k.key]] += by
			s.stale = true
		}
	}
}

// findFewest finds the lowest of each constraint's counts.
func (s *spreadState) findFewest() {
	s.stale = false
	for i := range s.constraints {
		k := &s.constraints[i]
		k.fewest = math.MaxInt
		for _, count := range k.counts {
			k.fewest = min(k.fewest, count)
		}
		if len(k.counts) < k.minDomains || len(k.counts) == 0 {
			k.fewest = 0
		}
	}
}

func (s *spreadState) filter(n *node) *failure {
	if s.stale {
		s.findFewest()
	}
	for i := range s.constraints {
		k := &s.constraints[i]
		if !k.strict {
			continue
		}
		value, ok := n.obj.Labels[k.key]
		if !ok {
			return s.failedLabel
		}
		if k.counts[value]+k.self-k.fewest > k.maxSkew {
			return s.failed
		}
	}
	return nil
}

// scores prefers domains with fewer matching pods, as upstream weighs them:
// topologies with more domains count more, and an allowed skew hardly counts.
func (s *spreadState) scores(nodes []*node) []int64 {
	any := false
	raw := make([]int64, len(nodes))
	left := make([]bool, len(nodes)) // nodes that lack a label score nothing
	for i := range s.constraints {
		k := &s.constraints[i]
		if k.strict {
			continue
		}
		any = true
		weight := math.Log(float64(len(k.counts) + 2))
		for j, n := range nodes {
			value, ok := n.obj.Labels[k.key]
			if !ok {
				left[j] = true
				continue
			}
			raw[j] += int64(math.Round(float64(k.counts[value])*weight + float64(k.maxSkew-1)))
		}
	}
	if !any {
		return nil
	}
	low, high := int64(math.MaxInt64), int64(0)
	for j := range nodes {
		if !left[j] {
			low, high = min(low, raw[j]), max(high, raw[j])
		}
	}
	for j := range nodes {
		switch {
		case left[j]:
			raw[j] = 0
		case high == 0:
			raw[j] = maxScore
		default:
			raw[j] = maxScore * (high + low - raw[j]) / high
		}
	}
	return raw
}
