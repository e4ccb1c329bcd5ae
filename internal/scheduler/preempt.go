package scheduler

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
)

const preemptionName = "DefaultPreemption"

func priorityOf(pod *v1.Pod) int32 { return corev1helpers.PodPriority(pod) }

func neverPreempts(pod *v1.Pod) bool {
	return pod.Spec.PreemptionPolicy != nil && *pod.Spec.PreemptionPolicy == v1.PreemptNever
}

// Why no room can be made for a pod, as upstream words it. The first is what its
// DynamicResources says of pods without claims, before DefaultPreemption.
const (
	noClaims    = "no new claims to deallocate"
	policyNever = "not eligible due to preemptionPolicy=Never."
	roomIsMade  = "not eligible due to a terminating pod on the nominated node."
	noHelp      = "Preemption is not helpful for scheduling"
	noVictims   = "No preemption victims found for incoming pod"
)

// candidate is a node that a pod fits if the victims go.
type candidate struct {
	node    *node
	victims []*placed // the most important one first
	// violations is how many of them a budget protects.
	violations int
	sum        int64 // of the victims' priorities
	// since is when the first of the most important victims started.
	since time.Time
}

// vain is what was found when no room could be made for a pod of a class. It
// holds for others of the priority while the index is the same.
type vain struct {
	generation uint64
	priority   int32
	text       string
}

// preempt is DefaultPreemption: it looks for a node where a pod would fit if
// pods of lower priority went. If there is none, it says why.
func (s *Scheduler) preempt(it *item, d diagnosis) (best *candidate, why string) {
	if neverPreempts(it.pod) {
		return nil, policyNever
	}
	if s.roomIsMade(it, d.failures) {
		return nil, roomIsMade
	}
	c := it.class
	// What is kept for one pod of a class is not kept for another.
	alike := !it.coupled && len(s.nominations) == 0
	if v := &c.vain; alike && v.text != "" && v.priority == it.priority && v.generation == s.index.generation {
		return nil, v.text
	}
	best, why = s.bestCandidate(it, d)
	if best == nil && alike {
		c.vain = vain{s.index.generation, it.priority, why}
	}
	return best, why
}

// roomIsMade tells whether pods are going already that were in a pod's way.
func (s *Scheduler) roomIsMade(it *item, failures []*failure) bool {
	n := s.index.byName[it.nominated]
	if n == nil || n.obj == nil {
		return false
	}
	if f := failures[n.pos]; f != nil && f.final {
		return false // the room would be of no use
	}
	return makesRoom(n, it.priority)
}

// makesRoom tells whether a pod of lower priority is going from a node to make
// room.
func makesRoom(n *node, priority int32) bool {
	for _, p := range n.pods {
		if p.priority < priority && (p.going || preempted(p.pod)) {
			return true
		}
	}
	return false
}

// preempted tells whether a pod is being deleted to make room.
func preempted(pod *v1.Pod) bool {
	if pod.DeletionTimestamp == nil {
		return false
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == v1.DisruptionTarget {
			return c.Status == v1.ConditionTrue && c.Reason == v1.PodReasonPreemptionByScheduler
		}
	}
	return false
}

// candidatesEnough is how many candidates are enough to choose from: upstream's
// default (minCandidateNodesPercentage 10, minCandidateNodesAbsolute 100).
func candidatesEnough(nodes int) int { return min(max(nodes/10, 100), nodes) }

func (s *Scheduler) bestCandidate(it *item, d diagnosis) (*candidate, string) {
	nodes, failures := s.index.nodes, d.failures
	var none, inVain failure = failure{preemptionName, []string{noVictims}, true}, failure{preemptionName, []string{noHelp}, true}
	t := tally{nodes: len(nodes)}
	var open []*node // where the going of pods may help
	for i, n := range nodes {
		if failures[i] == nil || failures[i].final {
			t.add(&inVain)
		} else {
			open = append(open, n)
		}
	}
	if !s.index.anyBelow(it.priority) {
		t.addTimes(&none, len(open))
		return nil, t.String()
	}
	var best *candidate
	found, kept := 0, 0 // candidates, and those that violate no budget
	var budgets []budget
	read := false
	start := 0
	if len(open) > 0 {
		start = s.rng.IntN(len(open))
	}
	for i := range open {
		n := open[(start+i)%len(open)]
		below := s.below(it, n)
		if len(below) == 0 {
			t.add(&none)
			continue
		}
		if !read {
			read, budgets = true, s.budgets()
		}
		c, f := s.victims(it, n, below, d.states, budgets)
		if f != nil {
			t.add(f)
			continue
		}
		if best == nil || c.better(best) {
			best = c
		}
		found++
		if c.violations == 0 {
			kept++
		}
		if kept > 0 && found >= candidatesEnough(len(open)) {
			break
		}
	}
	return best, t.String()
}

// below returns the pods on a node that may go for a pod, the most important
// first.
func (s *Scheduler) below(it *item, n *node) (below []*placed) {
	for _, p := range n.pods {
		if p.priority < it.priority {
			below = append(below, p)
		}
	}
	now := s.clock.Now()
	slices.SortFunc(below, func(a, b *placed) int {
		if a.priority != b.priority {
			return int(int64(b.priority) - int64(a.priority))
		}
		if c := started(a.pod, now).Compare(started(b.pod, now)); c != 0 {
			return c
		}
		// Which of two alike goes is not a matter of chance.
		if a.pod.UID < b.pod.UID {
			return -1
		}
		return 1
	})
	return below
}

// started returns when a pod started; one that has not counts as the youngest.
func started(pod *v1.Pod, now time.Time) time.Time {
	if pod.Status.StartTime != nil {
		return pod.Status.StartTime.Time
	}
	return now
}

// victims finds the fewest of the pods below that must go: all of them do, and
// then each may stay with which the pod fits still, those first that a budget
// protects, and the important before others.
func (s *Scheduler) victims(it *item, n *node, below []*placed, states []clusterState, budgets []budget) (*candidate, *failure) {
	for _, p := range below {
		shift(p, states, -1)
	}
	if f := s.refusal(it, n, states); f != nil {
		for _, p := range below {
			shift(p, states, 1)
		}
		return nil, f
	}
	c := &candidate{node: n}
	spare := func(p *placed) bool {
		shift(p, states, 1)
		if s.refusal(it, n, states) == nil {
			return true
		}
		shift(p, states, -1)
		c.victims = append(c.victims, p)
		return false
	}
	protected := protect(below, budgets)
	for _, p := range below {
		if protected[p] && !spare(p) {
			c.violations++
		}
	}
	for _, p := range below {
		if !protected[p] {
			spare(p)
		}
	}
	for _, p := range c.victims {
		shift(p, states, 1)
	}
	if len(protected) > 0 {
		rank := make(map[*placed]int, len(below))
		for i, p := range below {
			rank[p] = i
		}
		slices.SortFunc(c.victims, func(a, b *placed) int { return rank[a] - rank[b] })
	}
	c.weigh(s.clock.Now())
	return c, nil
}

func (c *candidate) weigh(now time.Time) {
	for i, p := range c.victims {
		// As upstream, so that more victims of negative priority weigh more too.
		c.sum += int64(p.priority) + 1<<31
		if p.priority != c.victims[0].priority {
			continue
		}
		if at := started(p.pod, now); i == 0 || at.Before(c.since) {
			c.since = at
		}
	}
}

// better tells whether c is to be preferred: fewer budgets are violated, the
// most important victim matters less, all victims together matter less, there
// are fewer of them, and they have run for less long.
func (c *candidate) better(o *candidate) bool {
	if c.violations != o.violations {
		return c.violations < o.violations
	}
	if len(c.victims) == 0 || len(o.victims) == 0 {
		return len(c.victims) < len(o.victims)
	}
	if a, b := c.victims[0].priority, o.victims[0].priority; a != b {
		return a < b
	}
	if c.sum != o.sum {
		return c.sum < o.sum
	}
	if len(c.victims) != len(o.victims) {
		return len(c.victims) < len(o.victims)
	}
	return c.since.After(o.since)
}

// budget is a PodDisruptionBudget, ready to be matched.
type budget struct {
	namespace string
	selector  labels.Selector
	allowed   int32
	// disrupted are pods whose going is charged already.
	disrupted map[string]metav1.Time
}

func (s *Scheduler) budgets() (out []budget) {
	all, err := s.disruptionBudgets.List(labels.Everything())
	if err != nil {
		return nil // the lister reads memory, and has no errors
	}
	for _, b := range all {
		out = append(out, newBudget(b))
	}
	return out
}

func newBudget(b *policyv1.PodDisruptionBudget) budget {
	selector := selectorOf(b.Spec.Selector)
	if selector.Empty() {
		selector = labels.Nothing()
	}
	return budget{b.Namespace, selector, b.Status.DisruptionsAllowed, b.Status.DisruptedPods}
}

// protect returns which of the pods cannot all go, in this order, without
// violating a budget.
func protect(pods []*placed, budgets []budget) map[*placed]bool {
	if len(budgets) == 0 {
		return nil
	}
	var protected map[*placed]bool
	left := make([]int32, len(budgets))
	for i := range budgets {
		left[i] = budgets[i].allowed
	}
	for _, p := range pods {
		if len(p.pod.Labels) == 0 {
			continue
		}
		for i := range budgets {
			b := &budgets[i]
			if b.namespace != p.pod.Namespace || !b.selector.Matches(labels.Set(p.pod.Labels)) {
				continue
			}
			if _, charged := b.disrupted[p.pod.Name]; charged {
				continue
			}
			if left[i]--; left[i] < 0 {
				if protected == nil {
					protected = map[*placed]bool{}
				}
				protected[p] = true
			}
		}
	}
	return protected
}
