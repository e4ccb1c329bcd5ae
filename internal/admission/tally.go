package admission

import (
	"time"

	"clipper/internal/admission/quota"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// tally is what the existing objects of one resource in one namespace use of
// its quotas. It is brought up to date by looking at all objects, but only
// those that changed are counted anew: an object of the watch cache is never
// changed, so the same pointer is the same usage.
type tally struct {
	quotas  []*corev1.ResourceQuota
	counted map[string]*counted            // by name
	totals  map[string]corev1.ResourceList // by quota
	round   uint64
}

type tallyKey struct {
	namespace string
	resource  schema.GroupResource
}

type counted struct {
	object runtime.Object
	usage  corev1.ResourceList
	covers []bool // by quota
	round  uint64 // when it was last seen
}

func newTally(quotas []*corev1.ResourceQuota) *tally {
	t := &tally{quotas: quotas, counted: map[string]*counted{}, totals: map[string]corev1.ResourceList{}}
	for _, q := range quotas {
		t.totals[q.Name] = corev1.ResourceList{}
	}
	return t
}

// of tells whether the tally is of quotas that say the same. Their status
// changes with every object.
func (t *tally) of(quotas []*corev1.ResourceQuota) bool {
	if len(t.quotas) != len(quotas) {
		return false
	}
	for i, q := range quotas {
		if have := t.quotas[i]; have != q && (have.UID != q.UID || have.Name != q.Name || !equality.Semantic.DeepEqual(have.Spec, q.Spec)) {
			return false
		}
	}
	t.quotas = quotas
	return true
}

// count brings the tally up to date.
func (t *tally) count(r schema.GroupResource, objects []runtime.Object, now time.Time) {
	t.round++
	for _, o := range objects {
		m, ok := o.(metav1.Object)
		if !ok {
			continue
		}
		c := t.counted[m.GetName()]
		// What is being deleted stops counting at some time, without a change.
		if c != nil && c.object == o && m.GetDeletionTimestamp() == nil {
			c.round = t.round
			continue
		}
		if c != nil {
			t.apply(c, subtract)
		}
		c = &counted{object: o, usage: quota.Usage(r, o, now), covers: make([]bool, len(t.quotas)), round: t.round}
		for i, q := range t.quotas {
			c.covers[i] = quota.Covers(q, o)
		}
		t.apply(c, add)
		t.counted[m.GetName()] = c
	}
	if len(t.counted) == len(objects) {
		return
	}
	for name, c := range t.counted {
		if c.round != t.round {
			t.apply(c, subtract)
			delete(t.counted, name)
		}
	}
}

func (t *tally) apply(c *counted, f func(total, amounts, names corev1.ResourceList)) {
	for i, q := range t.quotas {
		if c.covers[i] {
			f(t.totals[q.Name], c.usage, q.Spec.Hard)
		}
	}
}

// add adds to total those amounts that are also in names.
func add(total, amounts, names corev1.ResourceList) {
	for name, amount := range amounts {
		if _, ok := names[name]; ok {
			sum := total[name]
			sum.Add(amount)
			total[name] = sum
		}
	}
}

// subtract undoes add.
func subtract(total, amounts, names corev1.ResourceList) {
	for name, amount := range amounts {
		if _, ok := names[name]; ok {
			sum := total[name]
			sum.Sub(amount)
			total[name] = sum
		}
	}
}
