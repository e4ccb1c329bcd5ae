package deployment

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
)

// roll moves pods from the old sets to the current one, within bounds.
func (p *plan) roll() {
	if p.current == nil {
		p.make()
	}
	if c := p.current; c.want > p.replicas() {
		p.resize(c, p.replicas())
	} else if c.want < p.replicas() {
		p.resize(c, p.grown())
	}
	p.shrinkOld()
}

// grown is the size that the current set may grow to.
func (p *plan) grown() int32 {
	c, n := p.current, p.replicas()
	if p.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return n
	}
	surge, _ := p.bounds()
	free := n + surge - total(p.all())
	return c.want + max(min(free, n-c.want), 0)
}

// shrinkOld takes pods from the old sets: first those that are not available
// anyway, then as many available ones as can be spared.
func (p *plan) shrinkOld() {
	if total(p.old) == 0 {
		return
	}
	_, unavailable := p.bounds()
	least := p.replicas() - unavailable
	// Pods of the current set that are on their way do not count yet, those
	// just asked for included.
	coming := max(p.current.want-p.current.Status.AvailableReplicas, 0)
	spare := total(p.all()) - least - coming
	for _, s := range p.old {
		n := min(spare, s.want-s.Status.AvailableReplicas)
		if n > 0 {
			p.resize(s, s.want-n)
			spare -= n
		}
	}
	spare = min(spare, available(p.all())-least)
	for _, s := range p.old {
		n := min(spare, s.want)
		if n > 0 {
			p.resize(s, s.want-n)
			spare -= n
		}
	}
}

// recreate lets all old pods end before there are new ones.
func (p *plan) recreate(podsRun func(*appsv1.ReplicaSet) bool) {
	waiting := false
	for _, s := range p.old {
		waiting = waiting || s.want > 0 || podsRun(s.ReplicaSet)
	}
	p.emptyOld()
	if waiting {
		return
	}
	if p.current == nil {
		p.make()
	}
	p.resize(p.current, p.replicas())
}

func (p *plan) emptyOld() {
	for _, s := range p.old {
		if s.want > 0 {
			p.resize(s, 0)
		}
	}
}

// resized tells whether the Deployment was scaled since its sets were sized.
func (p *plan) resized() bool {
	for _, s := range p.all() {
		if s.want == 0 {
			continue
		}
		if n, ok := number(s.Annotations[desiredAnnotation]); ok && n != p.replicas() {
			return true
		}
	}
	return false
}

// scale sizes the sets for a Deployment that was scaled, or is paused.
func (p *plan) scale() {
	n := p.replicas()
	active := slices.DeleteFunc(slices.Clone(p.all()), func(s *replicaSet) bool { return s.want == 0 })
	switch {
	case len(active) == 0:
		if p.current != nil {
			p.resize(p.current, n)
		} else if len(p.old) > 0 {
			p.resize(p.old[len(p.old)-1], n)
		}
		return
	case len(active) == 1:
		p.resize(active[0], n)
		return
	case p.current != nil && p.saturated():
		p.emptyOld()
		p.resize(p.current, n)
		return
	case p.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		return
	}
	p.spread(active)
}

// saturated tells whether the current set carries the whole Deployment.
func (p *plan) saturated() bool {
	n, ok := number(p.current.Annotations[desiredAnnotation])
	return ok && n == p.replicas() && p.current.want == n && p.current.Status.AvailableReplicas == n
}

// spread changes the sizes of several sets in the midst of a rollout in
// proportion, so that a scaling loses as little of any version as can be.
func (p *plan) spread(sets []*replicaSet) {
	surge, _ := p.bounds()
	allowed := int32(0)
	if n := p.replicas(); n > 0 {
		allowed = n + surge
	}
	toAdd := allowed - total(sets)
	slices.SortStableFunc(sets, func(a, b *replicaSet) int {
		age := a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		if toAdd > 0 { // of equals the newer grows first, the older shrinks first
			age = -age
		}
		return cmp.Or(cmp.Compare(b.want, a.want), age)
	})
	added := int32(0)
	sizes := make([]int32, len(sets))
	for i, s := range sets {
		sizes[i] = s.want
		if toAdd == 0 {
			continue
		}
		part := p.fraction(s, allowed)
		if toAdd > 0 {
			part = max(min(part, toAdd-added), 0)
		} else {
			part = min(max(part, toAdd-added), 0)
		}
		sizes[i] += part
		added += part
	}
	for i, s := range sets {
		if i == 0 {
			sizes[i] += toAdd - added
		}
		p.resize(s, max(sizes[i], 0))
	}
}

// fraction is by how much the set changes if all sets keep their proportions.
func (p *plan) fraction(s *replicaSet, allowed int32) int32 {
	if allowed == 0 {
		return -s.want
	}
	was, ok := number(s.Annotations[maxAnnotation])
	if !ok || was == 0 {
		if was = p.d.Status.Replicas; was == 0 {
			return 0
		}
	}
	size := math.Round(float64(s.want) * float64(allowed) / float64(was))
	return int32(size) - s.want
}

// resize asks for a size and notes which Deployment's size it is part of.
func (p *plan) resize(s *replicaSet, size int32) {
	surge, _ := p.bounds()
	s.want = size
	s.note(desiredAnnotation, strconv.Itoa(int(p.replicas())))
	s.note(maxAnnotation, strconv.Itoa(int(p.replicas()+surge)))
}

func number(s string) (int32, bool) {
	n, err := strconv.ParseInt(s, 10, 32)
	return int32(n), err == nil
}
