package scheduler

import "slices"

// nominations are the pods for which room is being made, by the name of the
// node. They are counted as if they were there when pods of no higher priority
// are decided on, lest the room be taken.
type nominations map[string][]*item

// set notes the node of a pod, or none, and returns the one it had.
func (m nominations) set(it *item, node string) (was string) {
	if was = it.nominated; was == node {
		return was
	}
	if was != "" {
		at := m[was]
		at = slices.Delete(at, slices.Index(at, it), slices.Index(at, it)+1)
		if m[was] = at; len(at) == 0 {
			delete(m, was)
		}
	}
	if it.nominated = node; node != "" {
		m[node] = append(m[node], it)
	}
	return was
}

// nominate notes where room is made for a pod; an empty name takes it back, and
// lets others have the room.
func (s *Scheduler) nominate(it *item, nodeName string) {
	was := s.nominations.set(it, nodeName)
	if was == nodeName {
		return
	}
	if n := s.index.byName[was]; n != nil {
		s.index.touch(n)
		s.helps(n)
	}
	if n := s.index.byName[nodeName]; n != nil {
		s.index.touch(n)
	}
}

// dequeue forgets a pod that needs no node any more.
func (s *Scheduler) dequeue(it *item) {
	s.queue.remove(it.pod.UID, s.clock.Now())
	s.nominate(it, "")
}

// rivals are the pods, besides it, that it must leave room for on a node.
func (s *Scheduler) rivals(it *item, nodeName string) (rivals []*item) {
	for _, o := range s.nominations[nodeName] {
		if o != it && o.priority >= it.priority {
			rivals = append(rivals, o)
		}
	}
	return rivals
}

// refusal returns why a pod does not fit a node, as it is and with the pods
// that it must leave room for; nil if it does. The states are those of the
// plugins that look at the whole cluster.
func (s *Scheduler) refusal(it *item, n *node, states []clusterState) *failure {
	if f := s.failureWith(it.class, n, states); f != nil {
		return f
	}
	return s.crowding(it, n, states)
}

func (s *Scheduler) failureWith(c *class, n *node, states []clusterState) *failure {
	f := s.failureOn(c, n)
	for i := 0; f == nil && i < len(states); i++ {
		f = states[i].filter(n)
	}
	return f
}

// crowding returns why a pod would not fit a node beside those that it must
// leave room for.
func (s *Scheduler) crowding(it *item, n *node, states []clusterState) *failure {
	rivals := s.rivals(it, n.name)
	if len(rivals) == 0 {
		return nil
	}
	shiftAll := func(by int) {
		for _, o := range rivals {
			shift(&placed{pod: o.pod, node: n, load: o.class.load, terms: o.class.terms, priority: o.priority}, states, by)
		}
	}
	shiftAll(1)
	defer shiftAll(-1)
	return s.failureWith(it.class, n, states)
}

// shift counts a pod once more on its node, or once less, without a trace in
// the index: whoever shifts shifts back.
func shift(p *placed, states []clusterState, by int) {
	if by > 0 {
		p.node.take(p.load)
	} else {
		p.node.give(p.load)
	}
	for _, state := range states {
		state.shift(p, by)
	}
}

// crowded are the nodes of which only the room that a pod must leave for others
// keeps it away. For pods that are not coupled.
func (s *Scheduler) crowded(it *item) (crowded map[*node]*failure) {
	for name := range s.nominations {
		n := s.index.byName[name]
		if n == nil || n.obj == nil {
			continue
		}
		if f := s.crowding(it, n, nil); f != nil {
			if crowded == nil {
				crowded = map[*node]*failure{}
			}
			crowded[n] = f
		}
	}
	return crowded
}
