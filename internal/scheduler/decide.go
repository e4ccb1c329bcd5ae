package scheduler

import (
	"context"
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
	n, why := s.decide(it)
	if n == nil {
		it.backOff(now)
		s.queue.push(it, waiting)
		s.queue.settle(it, false, now)
		s.reportFailure(ctx, it, v1.PodReasonUnschedulable, why)
		return true
	}
	it.at = binding
	s.index.place(it.pod, n.name, it.class.load, it.class.terms, true)
	s.queue.settle(it, true, now)
	if it.class.terms != nil {
		s.queue.wakeCoupled(now)
	}
	pod, name := it.pod, n.name
	s.binders.do(func() { s.bind(ctx, it, pod, name) })
	return true
}

// decide returns the node for a pod, or why it fits none.
func (s *Scheduler) decide(it *item) (*node, string) {
	c := it.class
	it.coupled = c.coupled || s.matched(it.pod)
	if it.coupled {
		return s.decideCoupled(it.pod, c)
	}
	r := s.queue.classes.use(c)
	if n := r.best(s.index, s.plugins, s.rng); n != nil {
		return n, ""
	}
	return nil, r.unfit()
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

// unfit counts why no node is there for the class.
func (r *ranking) unfit() string {
	if r.text != "" && r.textOf == r.seen {
		return r.text
	}
	t := tally{nodes: len(r.entries)}
	for i := range r.entries {
		if f := r.entries[i].failure; f != nil {
			t.add(f)
		}
	}
	r.text, r.textOf = t.String(), r.seen
	return r.text
}

// decideCoupled looks at nodes until enough are found, and at all that they
// depend on.
func (s *Scheduler) decideCoupled(pod *v1.Pod, c *class) (*node, string) {
	nodes := s.index.nodes
	states, weights := s.clusterStates(pod, c)
	t := tally{nodes: len(nodes)}
	var found []*node
	looked := 0
	for enough := findEnough(len(nodes)); looked < len(nodes) && len(found) < enough; looked++ {
		n := nodes[(s.start+looked)%len(nodes)]
		f := s.failureOn(c, n)
		for i := 0; f == nil && i < len(states); i++ {
			f = states[i].filter(n)
		}
		if f != nil {
			t.add(f)
			continue
		}
		found = append(found, n)
	}
	if len(nodes) > 0 {
		s.start = (s.start + looked) % len(nodes)
	}
	if len(found) == 0 {
		return nil, t.String()
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
	return found[best], ""
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
