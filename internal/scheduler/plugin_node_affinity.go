package scheduler

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodeAffinity holds pods to the nodes that their nodeSelector and required
// node affinity name, and prefers those that match more preferred terms.
func nodeAffinity() plugin {
	const name = nodeAffinityName
	failed := &failure{name, []string{"node(s) didn't match Pod's node affinity/selector"}, true}
	return plugin{
		name:        name,
		skipsFilter: func(c *class) bool { return !c.selectsNodes },
		filter: func(c *class, n *node) *failure {
			if c.named != nil && !slices.Contains(c.named, n.name) {
				return nil // that is said already
			}
			// A selector that cannot be parsed matches nothing.
			if match, err := c.required.Match(n.obj); !match || err != nil {
				return failed
			}
			return nil
		},
		weight:     2,
		scale:      upward,
		skipsScore: func(c *class, _ *index) bool { return c.preferred == nil },
		score:      func(c *class, n *node, _ *index) int64 { return c.preferred.Score(n.obj) },
	}
}

const nodeAffinityName = "NodeAffinity"

// nodeAffinityNames is the part of NodeAffinity that comes before all filters:
// of nodes other than those that a pod names, nothing else is said.
func nodeAffinityNames() plugin {
	failed := &failure{nodeAffinityName, []string{"node(s) didn't satisfy plugin(s) [NodeAffinity]"}, true}
	return plugin{
		name:        nodeAffinityName,
		skipsFilter: func(c *class) bool { return c.named == nil },
		filter: func(c *class, n *node) *failure {
			if !slices.Contains(c.named, n.name) {
				return failed
			}
			return nil
		},
	}
}

// namedNodes returns the nodes that a pod's required affinity names in each of
// its terms, as those of DaemonSets do; nil if it may go to others.
func namedNodes(pod *v1.Pod) []string {
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	all := []string{}
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		var names []string
		found := false
		for _, r := range term.MatchFields {
			if r.Key != metav1.ObjectNameField || r.Operator != v1.NodeSelectorOpIn {
				continue
			}
			if !found {
				found, names = true, slices.Clone(r.Values)
			} else {
				names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(r.Values, n) })
			}
		}
		if !found {
			return nil
		}
		all = append(all, names...)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
