package scheduler

import v1 "k8s.io/api/core/v1"

// NodeReason says how a pod gets on with a node.
type NodeReason struct {
	Node string
	// Reasons are those of all filters that refuse the node, in the order of
	// the profile, each with the name of its plugin; none if the pod fits.
	Reasons []PluginReason
	// Score of a node that fits, among those that do.
	Score int64
}

// PluginReason is why one plugin refuses a node.
type PluginReason struct{ Plugin, Reason string }

// Explain says for each node why a pod does not fit, or how well it would. The
// pod need not exist; if it does, it is not counted where it is.
func (s *Scheduler) Explain(pod *v1.Pod) []NodeReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.index.pods[pod.UID]; p != nil && pod.UID != "" {
		s.index.remove(pod.UID)
		defer s.index.place(p.pod, p.node.name, p.load, p.terms, p.assumed)
	}
	c := newClass(pod, "")
	states, weights := s.clusterStates(pod, c)
	var out []NodeReason
	var found []*node
	var at []int
	for _, n := range s.index.nodes {
		why := NodeReason{Node: n.name}
		add := func(f *failure) {
			if f != nil {
				for _, reason := range f.reasons {
					why.Reasons = append(why.Reasons, PluginReason{f.plugin, reason})
				}
			}
		}
		for i := range s.plugins {
			if p := &s.plugins[i]; p.filter != nil && (p.skipsFilter == nil || !p.skipsFilter(c)) {
				add(p.filter(c, n))
			}
		}
		for _, state := range states {
			add(state.filter(n))
		}
		if len(why.Reasons) == 0 {
			found = append(found, n)
			at = append(at, len(out))
		}
		out = append(out, why)
	}
	if len(found) == 0 {
		return out
	}
	scores := s.scores(c, found)
	for i, state := range states {
		for j, score := range state.scores(found) {
			scores[j] += weights[i] * score
		}
	}
	for j, i := range at {
		out[i].Score = scores[j]
	}
	return out
}
