package admission

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"clipper/internal/admission/quota"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
)

// ResourceQuota keeps what a namespace's objects add up to within its quotas.
//
// What is used is added up from the objects that exist, and from the writes
// that were let through and are not known to be done: each of these holds a
// reservation until it is. An object may for a moment be counted twice, as
// existing and as reserved; so a write is refused only once no reservation is
// left that could be such a double. No write overruns a quota, and none is
// refused that would have fitted.
type ResourceQuota struct {
	objects Objects
	clock   clock.PassiveClock

	mu      sync.Mutex
	ledgers map[string]*ledger
	tallies map[tallyKey]*tally
}

// NewResourceQuota returns the plugin.
func NewResourceQuota(objects Objects, clk clock.PassiveClock) *ResourceQuota {
	return &ResourceQuota{objects: objects, clock: clk, ledgers: map[string]*ledger{}, tallies: map[tallyKey]*tally{}}
}

// ledger is what is reserved in a namespace. It exists while something is.
type ledger struct {
	reserved map[*reservation]bool
	changed  chan struct{} // closed when a reservation ends
}

// reservation is what a write may add, by quota.
type reservation struct {
	byQuota map[string]corev1.ResourceList
}

// Name implements Plugin.
func (*ResourceQuota) Name() string { return "ResourceQuota" }

// Validate implements Validator.
func (p *ResourceQuota) Validate(ctx context.Context, a *Attributes) error {
	r := a.Resource.GroupResource()
	if !a.Resource.Namespaced || a.Namespace == "" || a.Resource.Prefix == "" ||
		a.Operation != Create && a.Operation != Update ||
		a.Subresource != "" && !(r == pods && a.Subresource == "resize") {
		return nil
	}
	quotas := p.quotas(a, r)
	if len(quotas) == 0 {
		return nil
	}
	wanted, err := p.wanted(a, r, quotas)
	if err != nil || len(wanted) == 0 {
		return err
	}
	for {
		refused, wait := p.reserve(a, r, quotas, wanted)
		if refused == nil {
			return nil
		}
		if wait == nil {
			return refused
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return refused
		}
	}
}

// quotas returns those of the namespace that concern a resource, by name.
func (p *ResourceQuota) quotas(a *Attributes, r schema.GroupResource) []*corev1.ResourceQuota {
	var all []*corev1.ResourceQuota
	for _, o := range p.objects.Objects(resourceQuotas, a.Namespace) {
		if q, ok := o.(*corev1.ResourceQuota); ok && quota.Concerns(q, r) {
			all = append(all, q)
		}
	}
	slices.SortFunc(all, func(x, y *corev1.ResourceQuota) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// wanted returns how much more of each quota the write would use.
func (p *ResourceQuota) wanted(a *Attributes, r schema.GroupResource, quotas []*corev1.ResourceQuota) (map[string]corev1.ResourceList, error) {
	if pod, ok := a.Object.(*corev1.Pod); ok && a.Operation == Create {
		for _, q := range quotas {
			if !quota.Covers(q, pod) {
				continue
			}
			if err := quota.Missing(q, pod); err != nil {
				return nil, forbidden(a, "failed quota: %s: %w", q.Name, err)
			}
		}
	}
	now := p.clock.Now()
	usage := quota.Usage(r, a.Object, now)
	var before corev1.ResourceList
	if a.Operation == Update && a.Old != nil {
		before = quota.Usage(r, a.Old, now)
	}
	wanted := map[string]corev1.ResourceList{}
	for _, q := range quotas {
		if !quota.Covers(q, a.Object) {
			continue
		}
		counted := a.Old != nil && quota.Covers(q, a.Old)
		more := corev1.ResourceList{}
		for name := range q.Spec.Hard {
			amount, ok := usage[name]
			if !ok {
				continue
			}
			if had, ok := before[name]; ok && counted {
				amount = amount.DeepCopy()
				amount.Sub(had)
			}
			if amount.Sign() > 0 {
				more[name] = amount
			}
		}
		if len(more) > 0 {
			wanted[q.Name] = more
		}
	}
	return wanted, nil
}

// reserve takes what is wanted of all quotas, or says why it does not fit, and
// what to wait for before that is certain.
func (p *ResourceQuota) reserve(a *Attributes, r schema.GroupResource, quotas []*corev1.ResourceQuota, wanted map[string]corev1.ResourceList) (error, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.ledgers[a.Namespace]
	// The objects are read under the lock: a write that is done by now is
	// among them, and one that is not is among the reservations.
	used := p.used(a.Namespace, r, quotas)
	for _, q := range quotas {
		more := wanted[q.Name]
		if len(more) == 0 {
			continue
		}
		total := used[q.Name]
		if l != nil {
			total = maps.Clone(total)
			for res := range l.reserved {
				add(total, res.byQuota[q.Name], more)
			}
		}
		exceeded := corev1.ResourceList{}
		for name, amount := range more {
			sum := total[name].DeepCopy()
			sum.Add(amount)
			if sum.Cmp(q.Spec.Hard[name]) > 0 {
				exceeded[name] = amount
			}
		}
		if len(exceeded) == 0 {
			continue
		}
		err := forbidden(a, "exceeded quota: %s, requested: %s, used: %s, limited: %s",
			q.Name, quota.Format(exceeded), quota.Format(only(total, exceeded)), quota.Format(only(q.Spec.Hard, exceeded)))
		if l != nil {
			return err, l.changed
		}
		return err, nil
	}
	if l == nil {
		l = &ledger{reserved: map[*reservation]bool{}, changed: make(chan struct{})}
		p.ledgers[a.Namespace] = l
	}
	res := &reservation{wanted}
	l.reserved[res] = true
	a.OnFinish(func(error) { p.release(a.Namespace, res) })
	return nil, nil
}

// release ends a reservation. If the write was made, its object is among the
// existing ones by now.
func (p *ResourceQuota) release(namespace string, res *reservation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.ledgers[namespace]
	delete(l.reserved, res)
	close(l.changed)
	l.changed = make(chan struct{})
	if len(l.reserved) == 0 {
		delete(p.ledgers, namespace)
	}
}

// used adds up what the existing objects of a resource use of each quota. What
// it returns is the tally's.
func (p *ResourceQuota) used(namespace string, r schema.GroupResource, quotas []*corev1.ResourceQuota) map[string]corev1.ResourceList {
	key := tallyKey{namespace, r}
	t := p.tallies[key]
	if t == nil {
		for old := range p.tallies {
			if p.objects.Object(namespaces, "", old.namespace) == nil {
				delete(p.tallies, old)
			}
		}
	}
	if t == nil || !t.of(quotas) {
		t = newTally(quotas)
		p.tallies[key] = t
	}
	t.count(r, p.objects.Objects(r, namespace), p.clock.Now())
	return t.totals
}

// only returns of l what is also in names, zero if it is not in l.
func only(l, names corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name := range names {
		out[name] = l[name]
	}
	return out
}
