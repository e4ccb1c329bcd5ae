package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
)

func timerC(t clock.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C()
}

// scheduleOne decides on one pod. It returns false if there is none.
func (s *Scheduler) scheduleOne(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	it := s.queue.pop(now)
	if it == nil {
		return false
	}
	it.began = now
	n, why := s.decide(it)
	if n == nil {
		s.refuse(ctx, it, why, now)
		return true
	}
	if s.bindVolumes(ctx, it, n) {
		return true
	}
	it.at = binding
	s.index.place(it.pod, n.name, it.class.load, it.class.terms, true)
	s.nominate(it, "")
	s.queue.settle(it, true, now)
	if it.class.terms != nil {
		s.queue.wakeCoupled(now)
	}
	pod, name := it.pod, n.name
	s.binders.do(func() { s.bind(ctx, it, pod, name) })
	return true
}

// refuse has a pod wait that fits nowhere, and makes room for it if that helps.
func (s *Scheduler) refuse(ctx context.Context, it *item, why diagnosis, now time.Time) {
	text := why.text
	var room *candidate
	vain := noNodes
	if why.failures != nil {
		s.counted.preempts++
		if room, vain = s.preempt(it, why); room == nil {
			text += " " + noClaims + ", preemption: " + vain
		}
	}
	s.counted.attempt(unschedulable, now, s.clock.Now())
	it.backOff(now)
	s.queue.push(it, waiting)
	s.queue.settle(it, false, now)
	switch {
	case room != nil:
		s.makeRoom(ctx, it, room)
	case vain != policyNever && vain != roomIsMade:
		s.nominate(it, "")
	}
	s.reportFailure(ctx, it, v1.PodReasonUnschedulable, text)
}

// diagnosis is why a pod fits no node: in words, and by position of the node.
type diagnosis struct {
	text string
	// failures are valid until the next decision; nil if no node was looked at.
	failures []*failure
	// states are those of the plugins that looked at the whole cluster.
	states []clusterState
}

// decide returns the node for a pod, or why it fits none.
func (s *Scheduler) decide(it *item) (*node, diagnosis) {
	c, nodes := it.class, len(s.index.nodes)
	if nodes == 0 {
		return nil, diagnosis{text: noNodes}
	}
	if it.claims = false; c.claims {
		if why := s.volumes.of(it.pod).why; why != "" {
			it.claims = true
			return nil, diagnosis{text: fmt.Sprintf("0/%d nodes are available: %s. %s", nodes, why, afterVolumes)}
		}
	}
	it.coupled = c.coupled || s.matched(it.pod)
	if it.coupled {
		return s.decideCoupled(it)
	}
	if n := s.nominee(it, nil); n != nil {
		return n, diagnosis{}
	}
	r := s.queue.classes.use(c)
	best := r.best(s.index, s.plugins, s.rng)
	var crowded map[*node]*failure
	if best != nil && len(s.nominations) > 0 {
		if crowded = s.crowded(it); crowded[best] != nil {
			best = r.bestBut(crowded)
		}
	}
	if best != nil {
		return best, diagnosis{}
	}
	return nil, r.diagnose(crowded, s.room())
}

// nominee returns the node where room was made for a pod, if it fits there.
func (s *Scheduler) nominee(it *item, states []clusterState) *node {
	if it.nominated == "" {
		return nil
	}
	n := s.index.byName[it.nominated]
	if n == nil || n.obj == nil || s.refusal(it, n, states) != nil {
		return nil
	}
	return n
}

// room returns where to note why each node fails.
func (s *Scheduler) room() []*failure {
	s.failures = slices.Grow(s.failures[:0], len(s.index.nodes))[:len(s.index.nodes)]
	clear(s.failures)
	return s.failures
}

// matched tells whether the pods that are placed have terms that match the pod.
func (s *Scheduler) matched(pod *v1.Pod) bool {
	for _, p := range s.index.affine {
		if p.terms.anyMatches(pod, s.namespace) {
			return true
		}
	}
	return false
}

// bestBut returns the best node that is not among the others.
func (r *ranking) bestBut(others map[*node]*failure) *node {
	best := int32(-1)
	for _, pos := range r.heap {
		if others[r.entries[pos].node] == nil && (best < 0 || r.before(pos, best)) {
			best = pos
		}
	}
	if best < 0 {
		return nil
	}
	return r.entries[best].node
}

// diagnose tells why no node is there for the class, when all are known; the
// crowded ones fit but for what is kept for others.
func (r *ranking) diagnose(crowded map[*node]*failure, failures []*failure) diagnosis {
	for i := range r.entries {
		e := &r.entries[i]
		if failures[i] = e.failure; e.failure == nil {
			failures[i] = crowded[e.node]
		}
	}
	if crowded == nil && r.text != "" && r.textOf == r.seen {
		return diagnosis{r.text, failures, nil}
	}
	t := tally{nodes: len(r.entries)}
	for _, f := range failures {
		if f != nil {
			t.add(f)
		}
	}
	text := t.String()
	if crowded == nil {
		r.text, r.textOf = text, r.seen
	}
	return diagnosis{text, failures, nil}
}

// decideCoupled looks at nodes until enough are found, and at all that they
// depend on.
func (s *Scheduler) decideCoupled(it *item) (*node, diagnosis) {
	c, nodes := it.class, s.index.nodes
	states, weights := s.clusterStates(it.pod, c)
	if n := s.nominee(it, states); n != nil {
		return n, diagnosis{}
	}
	failures := s.room()
	t := tally{nodes: len(nodes)}
	var found []*node
	looked := 0
	for enough := findEnough(len(nodes)); looked < len(nodes) && len(found) < enough; looked++ {
		n := nodes[(s.start+looked)%len(nodes)]
		if f := s.refusal(it, n, states); f != nil {
			failures[n.pos] = f
			t.add(f)
			continue
		}
		found = append(found, n)
	}
	if len(nodes) > 0 {
		s.start = (s.start + looked) % len(nodes)
	}
	if len(found) == 0 {
		return nil, diagnosis{t.String(), failures, states}
	}
	scores := s.scores(c, found)
	for i, state := range states {
		for j, score := range state.scores(found) {
			scores[j] += weights[i] * score
		}
	}
	best, ties := 0, 1
	for j := 1; j < len(found); j++ {
		switch {
		case scores[j] > scores[best]:
			best, ties = j, 1
		case scores[j] == scores[best]:
			// Each of the best is chosen with the same chance.
			if ties++; s.rng.IntN(ties) == 0 {
				best = j
			}
		}
	}
	return found[best], diagnosis{}
}

func (s *Scheduler) clusterStates(pod *v1.Pod, c *class) (states []clusterState, weights []int64) {
	for _, p := range s.cluster {
		if state := p.prepare(s.index, pod, c, s.namespace); state != nil {
			states = append(states, state)
			weights = append(weights, p.weight)
		}
	}
	return states, weights
}

// scores are those of the plugins that look at one node at a time.
func (s *Scheduler) scores(c *class, nodes []*node) []int64 {
	total := make([]int64, len(nodes))
	raw := make([]int64, len(nodes))
	for i := range s.plugins {
		p := &s.plugins[i]
		if p.score == nil || p.skipsScore != nil && p.skipsScore(c, s.index) {
			continue
		}
		var top int64
		for j, n := range nodes {
			raw[j] = p.score(c, n, s.index)
			top = max(top, raw[j])
		}
		for j := range nodes {
			score := raw[j]
			if p.scale != asIs {
				score = scaledScore(p.scale, score, top)
			}
			total[j] += p.weight * score
		}
	}
	return total
}
