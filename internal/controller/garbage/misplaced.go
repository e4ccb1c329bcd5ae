package garbage

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// misplaced tells users whose object is about to go, for its owner is not where
// it says, that the owner is in another namespace: owners have to be in the
// object's own, or in none.
//
// The graph forgets objects that nobody names, so the owner may have to be
// looked for; that is once for an owner, and only for one not found.
func (g *Controller) misplaced(ctx context.Context, r *resource, a action) {
	if !r.namespaced || !g.elsewhere(ctx, r, a) {
		return
	}
	g.mu.Lock()
	var refs []corev1.ObjectReference
	var claims []metav1.OwnerReference
	if owner := g.graph.nodes[a.uid]; owner != nil {
		for _, d := range owner.dependents {
			i := slices.IndexFunc(d.owners, func(o metav1.OwnerReference) bool { return o.UID == a.uid })
			kind := g.graph.kinds[d.id.kind]
			if i < 0 || kind == nil || d.id.namespace != a.id.namespace {
				continue
			}
			claims = append(claims, d.owners[i])
			refs = append(refs, corev1.ObjectReference{
				APIVersion: kind.GroupVersion().String(), Kind: d.id.kind.Kind,
				Namespace: d.id.namespace, Name: d.id.name, UID: d.uid,
			})
		}
	}
	g.mu.Unlock()
	for i := range refs {
		said := fmt.Sprintf("[%s/%s, namespace: %s, name: %s, uid: %s]", claims[i].APIVersion, claims[i].Kind, refs[i].Namespace, claims[i].Name, claims[i].UID)
		g.events.Eventf(&refs[i], corev1.EventTypeWarning, "OwnerRefInvalidNamespace", "ownerRef %s does not exist in namespace %q", said, refs[i].Namespace)
	}
}

// elsewhere tells whether the object is in another namespace than its
// dependents say.
func (g *Controller) elsewhere(ctx context.Context, r *resource, a action) bool {
	g.mu.Lock()
	n := g.graph.nodes[a.uid]
	if n == nil {
		g.mu.Unlock()
		return false
	}
	seen, namespace := n.seen, n.id.namespace
	g.mu.Unlock()
	if seen {
		return namespace != a.id.namespace
	}
	l, err := g.Metadata.Resource(r.GroupVersionResource).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + a.id.name})
	if err != nil {
		return false // what is decided does not depend on it
	}
	return slices.ContainsFunc(l.Items, func(o metav1.PartialObjectMetadata) bool { return o.UID == a.uid })
}
