package garbage

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

// server is an API whose events reach the graph late, in order for each kind.
type server struct {
	t       *rapid.T
	objects map[types.UID]*metav1.ObjectMeta
	kindOf  map[types.UID]*resource
	events  map[*resource][]event
	version int
}

type event struct {
	obj  *metav1.ObjectMeta
	gone bool
}

func (s *server) write(uid types.UID, f func(*metav1.ObjectMeta)) {
	o := s.objects[uid].DeepCopy()
	f(o)
	s.version++
	o.ResourceVersion = fmt.Sprint(s.version)
	r := s.kindOf[uid]
	if o.DeletionTimestamp != nil && len(o.Finalizers) == 0 {
		delete(s.objects, uid)
		s.events[r] = append(s.events[r], event{o, true})
		return
	}
	s.objects[uid] = o
	s.events[r] = append(s.events[r], event{o, false})
}

func (s *server) delete(uid types.UID, policy metav1.DeletionPropagation) {
	s.write(uid, func(o *metav1.ObjectMeta) {
		now := metav1.Now()
		o.DeletionTimestamp = &now
		o.Finalizers = slices.DeleteFunc(o.Finalizers, func(f string) bool {
			return f == metav1.FinalizerDeleteDependents || f == metav1.FinalizerOrphanDependents
		})
		switch policy {
		case metav1.DeletePropagationForeground:
			o.Finalizers = append(o.Finalizers, metav1.FinalizerDeleteDependents)
		case metav1.DeletePropagationOrphan:
			o.Finalizers = append(o.Finalizers, metav1.FinalizerOrphanDependents)
		}
	})
}

// orphaned tells whether an object has owners, none of which is a reason for
// it to exist.
func (s *server) orphaned(o *metav1.ObjectMeta) bool {
	for _, ref := range o.OwnerReferences {
		if owner := s.objects[ref.UID]; owner != nil && owner.Name == ref.Name &&
			!(owner.DeletionTimestamp != nil && slices.Contains(owner.Finalizers, metav1.FinalizerDeleteDependents)) {
			return false
		}
	}
	return len(o.OwnerReferences) > 0
}

// act carries out what the graph decided, as the controller does.
func (s *server) act(g *graph, t task, a action) (todo []task) {
	o := s.objects[a.uid]
	switch a.what {
	case find:
		if o != nil && o.Name == a.id.name && s.kindOf[a.uid].kind == a.id.kind {
			todo = g.observe(s.kindOf[a.uid], o)
		} else {
			todo = g.missed(a.uid, a.id)
		}
		return append(todo, t)
	case look:
		for _, d := range a.dependents {
			todo = append(todo, task{uid: d.uid})
		}
		return todo
	}
	if a.what == nothing || o == nil {
		return nil
	}
	switch a.what {
	case remove:
		if o.ResourceVersion != a.version {
			return []task{t}
		}
		if !s.orphaned(o) {
			s.t.Fatalf("%s is deleted, though it has an owner", o.Name)
		}
		s.delete(a.uid, a.policy)
	case disown:
		s.disown(a.uid, a.owners)
	case unblock:
		s.write(a.uid, func(o *metav1.ObjectMeta) {
			for i := range o.OwnerReferences {
				o.OwnerReferences[i].BlockOwnerDeletion = new(bool)
			}
		})
		return []task{t}
	case letGo, release:
		for _, d := range a.dependents {
			if s.objects[d.uid] != nil {
				s.disown(d.uid, []types.UID{a.uid})
			}
		}
		s.write(a.uid, func(o *metav1.ObjectMeta) {
			o.Finalizers = slices.DeleteFunc(o.Finalizers, func(f string) bool { return f == a.finalizer })
		})
	}
	return nil
}

func (s *server) disown(uid types.UID, owners []types.UID) {
	s.write(uid, func(o *metav1.ObjectMeta) {
		o.OwnerReferences = slices.DeleteFunc(slices.Clone(o.OwnerReferences), func(r metav1.OwnerReference) bool { return slices.Contains(owners, r.UID) })
	})
}

func (s *server) String() string {
	var b strings.Builder
	for uid, o := range s.objects {
		fmt.Fprintf(&b, "\n%s deleting=%v %v owned by", uid, o.DeletionTimestamp != nil, o.Finalizers)
		for _, r := range o.OwnerReferences {
			fmt.Fprintf(&b, " %s %s(%v)", r.UID, r.Name, *r.BlockOwnerDeletion)
		}
	}
	return b.String()
}

// However late events come, nothing goes that has an owner, all goes that has
// only had some, no deletion is stuck, and the graph remembers no more than it
// needs.
func TestGraph(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &graph{nodes: map[types.UID]*node{}, kinds: map[schema.GroupKind]*resource{}}
		s := &server{t: t, objects: map[types.UID]*metav1.ObjectMeta{}, kindOf: map[types.UID]*resource{}, events: map[*resource][]event{}}
		var kinds []*resource
		for _, k := range []string{"A", "B", "C"} {
			r := &resource{kind: schema.GroupKind{Kind: k}}
			g.kinds[r.kind] = r
			kinds = append(kinds, r)
		}
		var queue []task
		made := 0
		ref := func() metav1.OwnerReference {
			n := rapid.IntRange(0, made).Draw(t, "owner")
			if n == made {
				n = 999 // which never was
			}
			uid := types.UID(fmt.Sprint(n))
			kind := kinds[n%3].kind.Kind
			name := "o" + string(uid)
			if rapid.IntRange(0, 9).Draw(t, "wrong") == 0 {
				name = "wrong"
			}
			block := rapid.Bool().Draw(t, "block")
			return metav1.OwnerReference{APIVersion: "v1", Kind: kind, Name: name, UID: uid, BlockOwnerDeletion: &block}
		}
		pick := func() types.UID {
			var all []types.UID
			for uid := range s.objects {
				all = append(all, uid)
			}
			if len(all) == 0 {
				return ""
			}
			slices.Sort(all)
			return rapid.SampledFrom(all).Draw(t, "object")
		}
		deliver := func(r *resource) {
			e := s.events[r][0]
			s.events[r] = s.events[r][1:]
			if e.gone {
				queue = append(queue, g.gone(e.obj.UID)...)
			} else {
				queue = append(queue, g.observe(r, e.obj)...)
			}
		}
		work := func(i int) {
			task := queue[i]
			queue = slices.Delete(queue, i, i+1)
			queue = append(queue, s.act(g, task, g.decide(task))...)
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2:
				uid := types.UID(fmt.Sprint(made))
				s.kindOf[uid] = kinds[made%3]
				o := &metav1.ObjectMeta{UID: uid, Name: "o" + string(uid)}
				for range rapid.IntRange(0, 2).Draw(t, "owners") {
					if r := ref(); !slices.ContainsFunc(o.OwnerReferences, func(h metav1.OwnerReference) bool { return h.UID == r.UID }) {
						o.OwnerReferences = append(o.OwnerReferences, r)
					}
				}
				made++
				s.objects[uid] = o
				s.write(uid, func(*metav1.ObjectMeta) {})
			case 3:
				// Who changes the policy of a deletion in its midst has no promise.
				if uid := pick(); uid != "" && s.objects[uid].DeletionTimestamp == nil {
					s.delete(uid, rapid.SampledFrom([]metav1.DeletionPropagation{
						metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan,
					}).Draw(t, "policy"))
				}
			case 4:
				if uid := pick(); uid != "" && s.objects[uid].DeletionTimestamp == nil {
					r := ref()
					s.write(uid, func(o *metav1.ObjectMeta) { o.OwnerReferences = []metav1.OwnerReference{r} })
				}
			case 5, 6:
				if r := rapid.SampledFrom(kinds).Draw(t, "kind"); len(s.events[r]) > 0 {
					deliver(r)
				}
			default:
				if len(queue) > 0 {
					work(rapid.IntRange(0, len(queue)-1).Draw(t, "task"))
				}
			}
		}
		for i := 0; ; i++ {
			if i > 10000 {
				t.Fatalf("does not come to rest")
			}
			late := slices.IndexFunc(kinds, func(r *resource) bool { return len(s.events[r]) > 0 })
			if late >= 0 {
				deliver(kinds[late])
			} else if len(queue) > 0 {
				work(0)
			} else {
				break
			}
		}
		for _, o := range s.objects {
			if o.DeletionTimestamp != nil {
				t.Fatalf("deletion of %s is stuck with %v among %s", o.Name, o.Finalizers, s)
			}
			if s.orphaned(o) {
				t.Fatalf("%s is left over; its owners were %v", o.Name, o.OwnerReferences)
			}
		}
		for uid, n := range g.nodes {
			if len(n.owners) == 0 && len(n.dependents) == 0 {
				t.Fatalf("%s is remembered for no reason", uid)
			}
			for d := range n.dependents {
				if g.nodes[d] == nil {
					t.Fatalf("%s has dependent %s, which is gone", uid, d)
				}
			}
		}
	})
}
