package scheduler

// nodePorts keeps pods off nodes where a host port of theirs is taken.
func nodePorts() plugin {
	const name = "NodePorts"
	failed := &failure{name, []string{"node(s) didn't have free ports for the requested pod ports"}, false}
	return plugin{
		name:        name,
		scope:       onPods,
		skipsFilter: func(c *class) bool { return len(c.load.ports) == 0 },
		filter: func(c *class, n *node) *failure {
			for _, want := range c.load.ports {
				for _, taken := range n.ports {
					if want.conflicts(taken) {
						return failed
					}
				}
			}
			return nil
		},
	}
}
