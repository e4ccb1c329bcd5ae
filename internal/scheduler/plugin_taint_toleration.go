package scheduler

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// taintToleration keeps pods off nodes with taints they do not tolerate, and
// prefers nodes with fewer of those that only ask to stay away.
func taintToleration() plugin {
	const name = "TaintToleration"
	failed := &failure{name, []string{"node(s) had untolerated taint(s)"}, true}
	return plugin{
		name: name,
		filter: func(c *class, n *node) *failure {
			for i := range n.hard {
				if t := &n.hard[i]; !tolerates(c.tolerations, t) {
					return failed
				}
			}
			return nil
		},
		weight: 3,
		scale:  reverse,
		score: func(c *class, n *node, _ *index) int64 {
			var untolerated int64
			for i := range n.soft {
				if !tolerates(c.softTolerations, &n.soft[i]) {
					untolerated++
				}
			}
			return untolerated
		},
	}
}

func tolerates(tolerations []v1.Toleration, taint *v1.Taint) bool {
	for i := range tolerations {
		if tolerations[i].ToleratesTaint(klog.Background(), taint, true) {
			return true
		}
	}
	return false
}
