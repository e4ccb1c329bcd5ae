package scheduler

// nodeAffinity holds pods to the nodes that their nodeSelector and required
// node affinity name, and prefers those that match more preferred terms.
func nodeAffinity() plugin {
	const name = "NodeAffinity"
	failed := &failure{name, []string{"node(s) didn't match Pod's node affinity/selector"}, true}
	return plugin{
		name:        name,
		skipsFilter: func(c *class) bool { return !c.selectsNodes },
		filter: func(c *class, n *node) *failure {
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
