package deployment

import (
	"cmp"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clipper/internal/controller"
)

// replicaSet is a ReplicaSet and what the plan wants of it.
type replicaSet struct {
	*appsv1.ReplicaSet
	want     int32 // spec.replicas
	minReady int32
	annotate map[string]string // to be set besides those there
}

func wanted(rs *appsv1.ReplicaSet) *replicaSet {
	s := &replicaSet{ReplicaSet: rs, minReady: rs.Spec.MinReadySeconds, annotate: map[string]string{}}
	s.want = s.specified()
	return s
}

// specified is how many pods the ReplicaSet has been asked for so far.
func (s *replicaSet) specified() int32 {
	if s.Spec.Replicas == nil {
		return 1
	}
	return *s.Spec.Replicas
}

func (s *replicaSet) note(key, value string) {
	if have, ok := s.Annotations[key]; !ok || have != value {
		s.annotate[key] = value
	}
}

func (s *replicaSet) isChanged() bool {
	return s.want != s.specified() || s.minReady != s.Spec.MinReadySeconds || len(s.annotate) > 0
}

// changed returns the ReplicaSet as the plan wants it.
func (s *replicaSet) changed() *appsv1.ReplicaSet {
	rs := *s.ReplicaSet
	rs.Spec.Replicas = &s.want
	rs.Spec.MinReadySeconds = s.minReady
	if len(s.annotate) > 0 {
		rs.Annotations = maps.Clone(rs.Annotations)
		if rs.Annotations == nil {
			rs.Annotations = map[string]string{}
		}
		maps.Copy(rs.Annotations, s.annotate)
	}
	return &rs
}

// plan is what one sync changes.
type plan struct {
	d   *appsv1.Deployment
	now time.Time

	// current is the set of the Deployment's template, nil if there is none
	// yet; create is the same set if it has to be made. old are the others, the
	// oldest first.
	current, create *replicaSet
	old             []*replicaSet
	remove          []*appsv1.ReplicaSet

	revision string // of the Deployment, empty if unknown
	status   appsv1.DeploymentStatus
	next     time.Duration // when time alone changes something; 0 is never
}

// newPlan compares a Deployment with the sets it owns. podsRun tells whether a
// set's pods may still run.
func newPlan(d *appsv1.Deployment, sets []*appsv1.ReplicaSet, podsRun func(*appsv1.ReplicaSet) bool, now time.Time) *plan {
	p := &plan{d: d, now: now, status: d.Status}
	sets = slices.SortedFunc(slices.Values(sets), func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, rs := range sets {
		if p.current == nil && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
			p.current = wanted(rs)
		} else {
			p.old = append(p.old, wanted(rs))
		}
	}
	if d.DeletionTimestamp != nil {
		p.count()
		return p
	}
	p.pausing()
	if p.current != nil {
		p.revise(p.current)
		p.found()
	}
	switch {
	case d.Spec.Paused || p.resized():
		p.scale()
		p.count()
		if d.Spec.Paused {
			p.cleanUp()
		}
		return p
	case d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		p.recreate(podsRun)
	default:
		p.roll()
	}
	p.count()
	p.progress()
	if complete(d, &p.status) {
		p.cleanUp()
	}
	return p
}

// all returns the current set, if there is one, and the old ones.
func (p *plan) all() []*replicaSet {
	if p.current == nil {
		return p.old
	}
	return append([]*replicaSet{p.current}, p.old...)
}

// changes returns the existing sets to be written: those that grow, the rest.
func (p *plan) changes() []*replicaSet {
	var out []*replicaSet
	for _, s := range p.all() {
		if s != p.create && s.isChanged() {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b *replicaSet) int {
		return cmp.Compare(b.want-b.specified(), a.want-a.specified())
	})
	return out
}

func (p *plan) replicas() int32 {
	if p.d.Spec.Replicas == nil {
		return 1
	}
	return *p.d.Spec.Replicas
}

// bounds resolves maxSurge and maxUnavailable to pods. Surge is rounded up and
// unavailability down; both cannot be nothing, or no rollout could move.
func (p *plan) bounds() (surge, unavailable int32) {
	r := p.d.Spec.Strategy.RollingUpdate
	if p.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType || r == nil {
		return 0, 0
	}
	n := p.replicas()
	surge = share(r.MaxSurge, n, true)
	unavailable = share(r.MaxUnavailable, n, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, n)
}

func share(v *intstr.IntOrString, of int32, roundUp bool) int32 {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, int(of), roundUp)
	if err != nil {
		return 0 // validation refuses it
	}
	return int32(max(n, 0))
}

func total(sets []*replicaSet) (n int32) {
	for _, s := range sets {
		n += s.want
	}
	return n
}

func available(sets []*replicaSet) (n int32) {
	for _, s := range sets {
		n += s.Status.AvailableReplicas
	}
	return n
}

// cleanUp removes the oldest sets that are empty, beyond those that history is
// kept of.
func (p *plan) cleanUp() {
	limit := p.d.Spec.RevisionHistoryLimit
	if limit == nil {
		return
	}
	living := slices.DeleteFunc(slices.Clone(p.old), func(s *replicaSet) bool { return s.DeletionTimestamp != nil })
	extra := len(living) - int(*limit)
	if extra <= 0 {
		return
	}
	slices.SortStableFunc(living, func(a, b *replicaSet) int {
		return cmp.Compare(revisionOf(a.ReplicaSet), revisionOf(b.ReplicaSet))
	})
	for _, s := range living[:extra] {
		if s.Status.Replicas == 0 && s.specified() == 0 && s.want == 0 && s.Generation <= s.Status.ObservedGeneration {
			p.remove = append(p.remove, s.ReplicaSet)
		}
	}
}

func (p *plan) time() metav1.Time { return metav1.NewTime(p.now) }

func (p *plan) wake(d time.Duration) { p.next = controller.Sooner(p.next, d) }
