package scheduler

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
)

// podTerms are a pod's terms of affinity to other pods, ready to be matched.
type podTerms struct {
	affinity, anti             []podTerm // required
	preferAffinity, preferAnti []podTerm
}

type podTerm struct {
	topology   string
	selector   labels.Selector
	namespaces sets.Set[string]
	// among selects namespaces by their labels; nil selects none.
	among  labels.Selector
	weight int64
}

func podTermsOf(pod *v1.Pod) *podTerms {
	a := pod.Spec.Affinity
	if a == nil || a.PodAffinity == nil && a.PodAntiAffinity == nil {
		return nil
	}
	t := &podTerms{}
	if p := a.PodAffinity; p != nil {
		t.affinity = requiredTerms(pod, p.RequiredDuringSchedulingIgnoredDuringExecution)
		t.preferAffinity = preferredTerms(pod, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		t.anti = requiredTerms(pod, p.RequiredDuringSchedulingIgnoredDuringExecution)
		t.preferAnti = preferredTerms(pod, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return t
}

func requiredTerms(pod *v1.Pod, terms []v1.PodAffinityTerm) (out []podTerm) {
	for i := range terms {
		out = append(out, newPodTerm(pod, &terms[i], 0))
	}
	return out
}

func preferredTerms(pod *v1.Pod, terms []v1.WeightedPodAffinityTerm) (out []podTerm) {
	for i := range terms {
		if terms[i].Weight != 0 {
			out = append(out, newPodTerm(pod, &terms[i].PodAffinityTerm, int64(terms[i].Weight)))
		}
	}
	return out
}

// selectorOf parses a selector; one that cannot be parsed matches nothing.
func selectorOf(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

func newPodTerm(pod *v1.Pod, term *v1.PodAffinityTerm, weight int64) podTerm {
	t := podTerm{topology: term.TopologyKey, selector: selectorOf(term.LabelSelector), weight: weight}
	t.namespaces = sets.New(term.Namespaces...)
	switch {
	case term.NamespaceSelector != nil:
		t.among = selectorOf(term.NamespaceSelector)
	case len(term.Namespaces) == 0:
		t.namespaces.Insert(pod.Namespace)
	}
	return t
}

func (t *podTerm) matches(pod *v1.Pod, ns namespaces) bool {
	if !t.namespaces.Has(pod.Namespace) && (t.among == nil || !t.among.Empty() && !t.among.Matches(labels.Set(ns(pod.Namespace)))) {
		return false
	}
	return t.selector.Matches(labels.Set(pod.Labels))
}

func matchAll(terms []podTerm, pod *v1.Pod, ns namespaces) bool {
	for i := range terms {
		if !terms[i].matches(pod, ns) {
			return false
		}
	}
	return len(terms) > 0
}

func (t *podTerms) anyMatches(pod *v1.Pod, ns namespaces) bool {
	for _, terms := range [...][]podTerm{t.anti, t.affinity, t.preferAffinity, t.preferAnti} {
		for i := range terms {
			if terms[i].matches(pod, ns) {
				return true
			}
		}
	}
	return false
}

// domain is one value of a topology label: a host, a zone.
type domain struct{ key, value string }

func (n *node) domain(key string) (domain, bool) {
	if n.obj == nil {
		return domain{}, false
	}
	value, ok := n.obj.Labels[key]
	return domain{key, value}, ok
}

// interPodAffinity holds pods to, and keeps them off, the domains where pods
// are that they, or that those, name.
func interPodAffinity() clusterPlugin {
	return clusterPlugin{name: interPodAffinityName, weight: 2, prepare: prepareInterPodAffinity}
}

const interPodAffinityName = "InterPodAffinity"

type interPodState struct {
	pod   *v1.Pod
	ns    namespaces
	terms *podTerms
	// Numbers of pods by domain: those that repel the pod, those that all
	// required terms match, those that a term of anti-affinity matches.
	repelling, near, avoided map[domain]int
	nears                    int // the sum of near
	// self: the pod matches its own required terms, so it may be the first.
	self   bool
	points map[domain]int64

	failedAffinity, failedAnti, failedExisting *failure
}

func prepareInterPodAffinity(x *index, pod *v1.Pod, c *class, ns namespaces) clusterState {
	if c.terms == nil && len(x.affine) == 0 {
		return nil
	}
	s := &interPodState{
		pod:            pod,
		ns:             ns,
		terms:          c.terms,
		repelling:      map[domain]int{},
		near:           map[domain]int{},
		avoided:        map[domain]int{},
		points:         map[domain]int64{},
		failedAffinity: &failure{interPodAffinityName, []string{"node(s) didn't match pod affinity rules"}, true},
		failedAnti:     &failure{interPodAffinityName, []string{"node(s) didn't match pod anti-affinity rules"}, false},
		failedExisting: &failure{interPodAffinityName, []string{"node(s) didn't satisfy existing pods anti-affinity rules"}, false},
	}
	if s.terms == nil {
		s.terms = &podTerms{}
	}
	for _, p := range x.affine {
		s.repelled(p, 1)
		s.scoreExisting(p)
	}
	if c.terms != nil {
		for _, p := range x.pods {
			s.asked(p, 1)
			s.scoreOwn(p)
		}
		s.self = matchAll(s.terms.affinity, pod, ns)
	}
	return s
}

func (s *interPodState) shift(p *placed, by int) {
	if p.terms != nil {
		s.repelled(p, by)
	}
	s.asked(p, by)
}

// repelled counts the terms of a pod that is placed which keep the new one away.
func (s *interPodState) repelled(p *placed, by int) {
	for i := range p.terms.anti {
		if t := &p.terms.anti[i]; t.matches(s.pod, s.ns) {
			if d, ok := p.node.domain(t.topology); ok {
				s.repelling[d] += by
			}
		}
	}
}

// asked counts a pod that is placed if the new one's required terms match it.
func (s *interPodState) asked(p *placed, by int) {
	if matchAll(s.terms.affinity, p.pod, s.ns) {
		for i := range s.terms.affinity {
			if d, ok := p.node.domain(s.terms.affinity[i].topology); ok {
				s.near[d] += by
				s.nears += by
			}
		}
	}
	for i := range s.terms.anti {
		if t := &s.terms.anti[i]; t.matches(p.pod, s.ns) {
			if d, ok := p.node.domain(t.topology); ok {
				s.avoided[d] += by
			}
		}
	}
}

// scoreExisting scores by what a pod that is placed prefers of the new one.
func (s *interPodState) scoreExisting(p *placed) {
	pod, ns := s.pod, s.ns
	award := func(terms []podTerm, sign, always int64) {
		for i := range terms {
			if t := &terms[i]; t.matches(pod, ns) {
				if d, ok := p.node.domain(t.topology); ok {
					s.points[d] += sign*t.weight + always
				}
			}
		}
	}
	award(p.terms.preferAffinity, 1, 0)
	award(p.terms.preferAnti, -1, 0)
	// Where a pod needs others, they are preferred too: upstream's default
	// weight for it is 1.
	award(p.terms.affinity, 0, 1)
}

// scoreOwn scores by what the new pod prefers of one that is placed.
func (s *interPodState) scoreOwn(p *placed) {
	award := func(terms []podTerm, sign int64) {
		for i := range terms {
			if t := &terms[i]; t.matches(p.pod, s.ns) {
				if d, ok := p.node.domain(t.topology); ok {
					s.points[d] += sign * t.weight
				}
			}
		}
	}
	award(s.terms.preferAffinity, 1)
	award(s.terms.preferAnti, -1)
}

func (s *interPodState) filter(n *node) *failure {
	alone := s.self && s.nears == 0
	for i := range s.terms.affinity {
		d, ok := n.domain(s.terms.affinity[i].topology)
		if !ok || s.near[d] == 0 && !alone {
			return s.failedAffinity
		}
	}
	for i := range s.terms.anti {
		if d, ok := n.domain(s.terms.anti[i].topology); ok && s.avoided[d] > 0 {
			return s.failedAnti
		}
	}
	if len(s.repelling) > 0 {
		for key, value := range n.obj.Labels {
			if s.repelling[domain{key, value}] > 0 {
				return s.failedExisting
			}
		}
	}
	return nil
}

func (s *interPodState) scores(nodes []*node) []int64 {
	if len(s.points) == 0 {
		return nil
	}
	out := make([]int64, len(nodes))
	for i, n := range nodes {
		for key, value := range n.obj.Labels {
			out[i] += s.points[domain{key, value}]
		}
	}
	return spreadOut(out)
}

// spreadOut maps scores so that the lowest becomes 0 and the highest 100.
func spreadOut(scores []int64) []int64 {
	low, high := scores[0], scores[0]
	for _, s := range scores {
		low, high = min(low, s), max(high, s)
	}
	if low == high {
		return nil
	}
	for i := range scores {
		scores[i] = int64(float64(maxScore) * (float64(scores[i]-low) / float64(high-low)))
	}
	return scores
}
