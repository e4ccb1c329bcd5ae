package scheduler

import v1 "k8s.io/api/core/v1"

// nodeUnschedulable keeps pods off cordoned nodes, unless they tolerate it.
func nodeUnschedulable() plugin {
	const name = "NodeUnschedulable"
	failed := &failure{name, []string{"node(s) were unschedulable"}, true}
	taint := v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}
	return plugin{
		name: name,
		filter: func(c *class, n *node) *failure {
			if n.obj.Spec.Unschedulable && !tolerates(c.tolerations, &taint) {
				return failed
			}
			return nil
		},
	}
}
