package scheduler

// nodeName holds pods to the node they name. Those the queue sees name none;
// it is here for explanations of others.
func nodeName() plugin {
	const name = "NodeName"
	failed := &failure{name, []string{"node(s) didn't match the requested node name"}, true}
	return plugin{
		name:        name,
		skipsFilter: func(c *class) bool { return c.pod.Spec.NodeName == "" },
		filter: func(c *class, n *node) *failure {
			if c.pod.Spec.NodeName != n.name {
				return failed
			}
			return nil
		},
	}
}
