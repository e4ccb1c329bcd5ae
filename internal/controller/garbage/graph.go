package garbage

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// graph knows who owns whom. It holds objects that have owners, that others
// say they are owned by, or that wait for their dependents; of these it holds
// no more than their identity. Its methods return what is to be looked at.
//
// An owner that no event has told of yet is a virtual node: whether it exists
// has to be found out. One that is known to be gone stays, as absent, until no
// dependent names it any more.
type graph struct {
	nodes map[types.UID]*node
	kinds map[schema.GroupKind]*resource
}

// resource is a kind of objects.
type resource struct {
	schema.GroupVersionResource
	kind       schema.GroupKind
	namespaced bool
}

// node is an object.
type node struct {
	uid types.UID
	id  identity
	// version is the resourceVersion that all else here is of.
	version    string
	owners     []metav1.OwnerReference
	dependents map[types.UID]*node

	seen, absent bool // neither: virtual
	deleting     bool
	foreground   bool // deleting, but only after its dependents
	orphaning    bool // deleting, but only after its dependents were let go
	// policy is what the node's finalizers ask a deletion to be.
	policy metav1.DeletionPropagation
	// wrong are identities that dependents gave of it, and that it does not have.
	wrong map[identity]struct{}
}

// identity is where an object is found.
type identity struct {
	kind            schema.GroupKind
	namespace, name string
}

// task is a node to look at.
type task struct {
	uid    types.UID
	orphan bool // let its dependents go; otherwise, see whether it has to go itself
}

// owner returns the identity that a dependent in a namespace says its owner
// has; false if the kind is not known.
func (g *graph) owner(namespace string, ref *metav1.OwnerReference) (identity, bool) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	id := identity{kind: schema.GroupKind{Group: gv.Group, Kind: ref.Kind}, name: ref.Name}
	r := g.kinds[id.kind]
	if err != nil || r == nil {
		return id, false
	}
	if r.namespaced {
		id.namespace = namespace
	}
	return id, true
}

// observe takes in the state of an object.
func (g *graph) observe(r *resource, o metav1.Object) (todo []task) {
	owners := o.GetOwnerReferences()
	deleting := o.GetDeletionTimestamp() != nil
	policy := metav1.DeletePropagationBackground
	if slices.Contains(o.GetFinalizers(), metav1.FinalizerOrphanDependents) {
		policy = metav1.DeletePropagationOrphan
	} else if slices.Contains(o.GetFinalizers(), metav1.FinalizerDeleteDependents) {
		policy = metav1.DeletePropagationForeground
	}
	foreground := deleting && policy == metav1.DeletePropagationForeground
	orphaning := deleting && policy == metav1.DeletePropagationOrphan

	n := g.nodes[o.GetUID()]
	if n == nil {
		if len(owners) == 0 && !foreground && !orphaning {
			return nil
		}
		n = &node{uid: o.GetUID()}
		g.nodes[n.uid] = n
	}
	waits, lets := foreground && !n.foreground, orphaning && !n.orphaning
	id := identity{r.kind, o.GetNamespace(), o.GetName()}
	if n.id != id {
		todo = n.lookAtDependents(nil) // who named it otherwise
	}
	n.id = id
	n.seen, n.absent, n.version = true, false, o.GetResourceVersion()
	n.deleting, n.foreground, n.orphaning, n.policy = deleting, foreground, orphaning, policy

	todo = append(todo, g.own(n, owners)...)
	if lets {
		todo = append(todo, task{n.uid, true})
	}
	if waits {
		todo = append(todo, task{uid: n.uid})
		todo = n.lookAtDependents(todo)
	}
	if g.idle(n) {
		delete(g.nodes, n.uid)
	}
	return todo
}

// own brings the node's edges in line with its owners.
func (g *graph) own(n *node, owners []metav1.OwnerReference) (todo []task) {
	had := n.owners
	n.owners = owners
	for i := range had {
		was := &had[i]
		j := slices.IndexFunc(owners, func(r metav1.OwnerReference) bool { return r.UID == was.UID })
		if j < 0 {
			todo = append(todo, g.unlink(n, was.UID)...)
		} else if blocks(was) && !blocks(&owners[j]) {
			todo = g.nodes[was.UID].lookIfWaiting(todo)
		}
	}
	look := false
	for i := range owners {
		ref := &owners[i]
		o := g.nodes[ref.UID]
		id, known := g.owner(n.id.namespace, ref)
		if o == nil {
			o = &node{uid: ref.UID, id: id}
			g.nodes[ref.UID] = o
		}
		if !slices.ContainsFunc(had, func(r metav1.OwnerReference) bool { return r.UID == ref.UID }) || o.dependents[n.uid] == nil {
			if o.dependents == nil {
				o.dependents = map[types.UID]*node{}
			}
			o.dependents[n.uid] = n
			switch {
			case !o.seen && !o.absent:
				todo = append(todo, task{uid: o.uid})
			case o.absent || o.foreground:
				look = true
			}
		}
		if known && o.id != id {
			look = true
		}
	}
	if look {
		todo = append(todo, task{uid: n.uid})
	}
	return todo
}

func blocks(ref *metav1.OwnerReference) bool {
	return ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion
}

// unlink takes n from the dependents of an owner.
func (g *graph) unlink(n *node, owner types.UID) (todo []task) {
	o := g.nodes[owner]
	if o == nil {
		return nil
	}
	delete(o.dependents, n.uid)
	todo = o.lookIfWaiting(nil)
	if g.idle(o) {
		delete(g.nodes, owner)
	}
	return todo
}

// idle tells whether the graph has no reason to hold the node.
func (g *graph) idle(n *node) bool {
	return len(n.dependents) == 0 && len(n.owners) == 0 && !n.foreground && !n.orphaning
}

func (n *node) lookIfWaiting(todo []task) []task {
	if n != nil && n.foreground {
		todo = append(todo, task{uid: n.uid})
	}
	return todo
}

func (n *node) lookAtDependents(todo []task) []task {
	for uid := range n.dependents {
		todo = append(todo, task{uid: uid})
	}
	return todo
}

// gone takes in that an object no longer exists.
func (g *graph) gone(uid types.UID) (todo []task) {
	n := g.nodes[uid]
	if n == nil || n.absent {
		return nil
	}
	todo = n.lookAtDependents(nil)
	owners := n.owners
	n.owners, n.absent = nil, true
	n.seen, n.deleting, n.foreground, n.orphaning = false, false, false, false
	for i := range owners {
		todo = append(todo, g.unlink(n, owners[i].UID)...)
	}
	if len(n.dependents) == 0 {
		delete(g.nodes, uid)
	}
	return todo
}

// without takes in that a list of a resource had only the objects in have.
// One that is missing there may yet be newer than the list.
func (g *graph) without(r *resource, have map[types.UID]struct{}) (todo []task) {
	for uid, n := range g.nodes {
		if _, ok := have[uid]; !ok && n.seen && n.id.kind == r.kind {
			n.seen = false
			todo = append(todo, task{uid: uid})
		}
	}
	return todo
}

// missed takes in that at an identity there is no object of that uid.
func (g *graph) missed(uid types.UID, id identity) []task {
	n := g.nodes[uid]
	switch {
	case n == nil:
		return nil
	case !n.seen && n.id == id:
		return g.gone(uid)
	case n.wrong == nil:
		n.wrong = map[identity]struct{}{}
	}
	n.wrong[id] = struct{}{}
	return nil
}

// unknown returns the tasks of virtual nodes.
func (g *graph) unknown() (todo []task) {
	for uid, n := range g.nodes {
		if !n.seen && !n.absent {
			todo = append(todo, task{uid: uid})
		}
	}
	return todo
}
