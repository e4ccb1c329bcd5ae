package garbage

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// action is what is to be done about a node.
type action struct {
	what what
	// id and version are the node's; for find, those of the object to be found.
	id      identity
	uid     types.UID
	version string
	// policy of a deletion, or the finalizer to be removed.
	policy    metav1.DeletionPropagation
	finalizer string
	// owners that the node is to be rid of, or who shall not wait for it.
	owners []types.UID
	// dependents to be looked at next, or, to be let go.
	dependents []dependent
}

type dependent struct {
	id  identity
	uid types.UID
}

type what uint8

const (
	nothing what = iota
	find         // see whether the object exists, and then look at the node again
	remove       // delete the node
	disown       // remove owners from the node
	unblock      // let no owner wait for the node; delete it then
	release      // remove the finalizer
	look         // look at the dependents
	letGo        // remove the node from its dependents' owners; release it then
)

// decide tells what to do about a task. It changes nothing.
func (g *graph) decide(t task) action {
	n := g.nodes[t.uid]
	if n == nil || n.absent {
		return action{}
	}
	a := action{id: n.id, uid: n.uid, version: n.version}
	switch {
	case t.orphan:
		if !n.orphaning {
			return action{}
		}
		a.what, a.finalizer = letGo, metav1.FinalizerOrphanDependents
		for _, d := range n.dependents {
			a.dependents = append(a.dependents, dependent{d.id, d.uid})
		}
		return a
	case !n.seen:
		if g.kinds[n.id.kind] != nil {
			a.what = find
		}
		return a // of a kind that is not known, no object can be called absent
	case n.foreground:
		return g.wait(n, a)
	case n.deleting, len(n.owners) == 0:
		return action{}
	}
	return g.judge(n, a)
}

// wait decides about a node that goes after those that block it.
func (g *graph) wait(n *node, a action) action {
	a.what, a.finalizer = release, metav1.FinalizerDeleteDependents
	for _, d := range n.dependents {
		if d == n || !d.blocksOwner(n) {
			continue
		}
		a.what = look
		if !d.foreground {
			a.dependents = append(a.dependents, dependent{d.id, d.uid})
		} else if d.waitsFor(n, map[*node]bool{}) {
			// They would wait for one another forever.
			return action{what: unblock, id: n.id, uid: n.uid}
		}
	}
	return a
}

func (n *node) blocksOwner(o *node) bool {
	return slices.ContainsFunc(n.owners, func(r metav1.OwnerReference) bool { return r.UID == o.uid && blocks(&r) })
}

// waitsFor tells whether a node that goes after its dependents goes, in the
// end, after other.
func (n *node) waitsFor(other *node, passed map[*node]bool) bool {
	passed[n] = true
	for _, d := range n.dependents {
		if !d.blocksOwner(n) || passed[d] {
			continue
		}
		if d == other || d.foreground && d.waitsFor(other, passed) {
			return true
		}
	}
	return false
}

// judge decides about a node by its owners: it stays as long as one exists that
// is not itself waiting for the node to go.
func (g *graph) judge(n *node, a action) action {
	var gone, waiting []types.UID
	solid := 0
	for i := range n.owners {
		ref := &n.owners[i]
		o := g.nodes[ref.UID]
		id, known := g.owner(n.id.namespace, ref)
		switch {
		case !known, n.id.namespace == "" && g.kinds[id.kind].namespaced:
			// An owner of a kind that is not known, or in a namespace that cannot be
			// told, may exist.
			solid++
		case o == nil:
			solid++ // not linked yet
		case o.absent && o.id == id, o.isWrong(id):
			gone = append(gone, ref.UID)
		case !o.seen || o.id != id:
			return action{what: find, id: id, uid: ref.UID}
		case o.foreground:
			waiting = append(waiting, ref.UID)
		default:
			solid++
		}
	}
	switch {
	case solid > 0 && len(gone)+len(waiting) == 0:
		return action{}
	case solid > 0:
		a.what, a.owners = disown, append(gone, waiting...)
		return a
	}
	a.what, a.policy = remove, n.policy
	if len(waiting) > 0 && len(n.dependents) > 0 {
		// Its own dependents go before it, too. Should one of them be waiting
		// already there is a circle, in which nobody may wait for this one.
		a.policy = metav1.DeletePropagationForeground
		for _, d := range n.dependents {
			if d.foreground {
				a.what = unblock
			}
		}
	}
	return a
}

func (n *node) isWrong(id identity) bool {
	_, wrong := n.wrong[id]
	return wrong
}
