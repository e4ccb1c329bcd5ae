package admission

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeRestriction keeps a kubelet to its own objects where the authoriser
// cannot: by what the objects it writes say.
type NodeRestriction struct{ objects Objects }

// Name implements Plugin.
func (*NodeRestriction) Name() string { return "NodeRestriction" }

// Admit implements Mutator; it changes nothing.
func (p *NodeRestriction) Admit(_ context.Context, a *Attributes) error {
	if a.User == nil || !slices.Contains(a.User.GetGroups(), "system:nodes") {
		return nil
	}
	node, ok := strings.CutPrefix(a.User.GetName(), "system:node:")
	if !ok || node == "" {
		return forbidden(a, "could not determine node from user %q", a.User.GetName())
	}
	switch a.Resource.GroupResource().String() {
	case "pods":
		return p.pod(a, node)
	case "nodes":
		if err := ownNodeOnly(a, node); err != nil {
			return err
		}
		return p.ownShare(a)
	case "leases.coordination.k8s.io":
		if l, ok := a.Object.(*coordinationv1.Lease); ok && (l.Namespace != corev1.NamespaceNodeLease || l.Name != node) {
			return forbidden(a, "can only access node lease with the same name as the requesting node")
		}
	case "csinodes.storage.k8s.io":
		if c, ok := a.Object.(*storagev1.CSINode); ok && c.Name != node {
			return forbidden(a, "can only access CSINode with the same name as the requesting node")
		}
	case "serviceaccounts":
		if a.Subresource == "token" && a.Operation == Create {
			return p.token(a, node)
		}
	}
	return nil
}

func (p *NodeRestriction) pod(a *Attributes, node string) error {
	switch {
	case a.Subresource == "" && a.Operation == Create:
		pod, ok := a.Object.(*corev1.Pod)
		if !ok {
			return nil
		}
		if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; !mirror {
			return forbidden(a, "pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
		}
		if pod.Spec.NodeName != node {
			return forbidden(a, "node %q can only create pods with spec.nodeName set to itself", node)
		}
		return p.mirror(a, pod, node)
	case a.Subresource == "" && a.Operation == Delete:
		if pod := p.find(a); pod != nil && pod.Spec.NodeName != node {
			return forbidden(a, "node %q can only delete pods with spec.nodeName set to itself", node)
		}
	case a.Subresource == "" && a.Operation == Update:
		return forbidden(a, "unexpected operation %q, node %q can only create and delete mirror pods", a.Operation, node)
	case a.Subresource == "status" && a.Operation == Update:
		old, ok := a.Old.(*corev1.Pod)
		if !ok {
			return nil
		}
		if old.Spec.NodeName != node {
			return forbidden(a, "node %q can only update pod status for pods with spec.nodeName set to itself", node)
		}
		if pod, ok := a.Object.(*corev1.Pod); ok && !maps.Equal(pod.Labels, old.Labels) {
			return forbidden(a, "node %q cannot update labels through pod status", node)
		}
	case a.Subresource == "eviction" && a.Operation == Create:
		name := a.Name
		if e, ok := a.Object.(*policyv1.Eviction); ok && name == "" {
			name = e.Name
		}
		if pod, ok := p.objects.Object(pods, a.Namespace, name).(*corev1.Pod); !ok || pod.Spec.NodeName != node {
			return forbidden(a, "node %s can only evict pods with spec.nodeName set to itself", node)
		}
	}
	return nil
}

// mirror: a mirror pod is its node's, and refers to nothing by which the node
// would get at what it may not read.
func (p *NodeRestriction) mirror(a *Attributes, pod *corev1.Pod, node string) error {
	if len(pod.OwnerReferences) > 1 {
		return forbidden(a, "node %q can only create pods with a single owner reference set to itself", node)
	}
	if len(pod.OwnerReferences) == 0 {
		return forbidden(a, "node %q can only create pods with an owner reference set to itself", node)
	}
	owner := &pod.OwnerReferences[0]
	switch self := p.objects.Object(nodes, "", node); {
	case owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != node:
		return forbidden(a, "node %q can only create pods with an owner reference set to itself", node)
	case owner.Controller == nil || !*owner.Controller:
		return forbidden(a, "node %q can only create pods with a controller owner reference set to itself", node)
	case owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion:
		return forbidden(a, "node %q must not set blockOwnerDeletion on an owner reference", node)
	case self == nil:
		return forbidden(a, "node %q not found", node)
	case self.GetUID() != owner.UID:
		return forbidden(a, "node %s UID mismatch: expected %s got %s", node, owner.UID, self.GetUID())
	}
	r := referencesOf(&pod.Spec)
	for _, kind := range [...]struct {
		refers bool
		name   string
	}{
		{pod.Spec.ServiceAccountName != "" || r.tokens, "a service account"},
		{r.secrets, "secrets"},
		{r.configMaps, "configmaps"},
		{r.claims, "persistentvolumeclaims"},
		{len(pod.Spec.ResourceClaims) > 0, "resourceclaims"},
	} {
		if kind.refers {
			return forbidden(a, "node %q can not create pods that reference %s", node, kind.name)
		}
	}
	return nil
}

func (p *NodeRestriction) find(a *Attributes) *corev1.Pod {
	if old, ok := a.Old.(*corev1.Pod); ok {
		return old
	}
	pod, _ := p.objects.Object(pods, a.Namespace, a.Name).(*corev1.Pod)
	return pod
}

func ownNodeOnly(a *Attributes, node string) error {
	if name := objectName(a); name != node {
		return forbidden(a, "node %q is not allowed to modify node %q", node, name)
	}
	object, ok := a.Object.(*corev1.Node)
	if !ok {
		return nil
	}
	var had map[string]string
	var owners []metav1.OwnerReference
	if old, ok := a.Old.(*corev1.Node); ok {
		had, owners = old.Labels, old.OwnerReferences
		if a.Operation == Update && !equality.Semantic.DeepEqual(old.Spec.Taints, object.Spec.Taints) {
			return forbidden(a, "node %q is not allowed to modify taints", node)
		}
		if object.Spec.ConfigSource != nil && !equality.Semantic.DeepEqual(old.Spec.ConfigSource, object.Spec.ConfigSource) {
			return forbidden(a, "node %q is not allowed to update configSource to a new non-nil configSource", node)
		}
	}
	// The garbage collector would delete the node for it, taints and all.
	if !equality.Semantic.DeepEqual(owners, object.OwnerReferences) {
		return forbidden(a, "node %q is not allowed to modify ownerReferences", node)
	}
	var wrong []string
	for key := range changed(had, object.Labels) {
		if !nodeMaySet(key) {
			wrong = append(wrong, key)
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return forbidden(a, "is not allowed to modify labels: %s", strings.Join(wrong, ", "))
	}
	return nil
}

// ownShare: a node may be registered anew with the share of the pods' network
// that it had, but not with what another has, whose pods would lose their way.
func (p *NodeRestriction) ownShare(a *Attributes) error {
	object, ok := a.Object.(*corev1.Node)
	if !ok || a.Operation != Create || object.Spec.PodCIDR == "" && len(object.Spec.PodCIDRs) == 0 {
		return nil
	}
	asked := shares(object)
	for _, o := range p.objects.Objects(nodes, "") {
		other, ok := o.(*corev1.Node)
		if !ok || other.Name == object.Name {
			continue
		}
		for _, theirs := range shares(other) {
			if slices.ContainsFunc(asked, theirs.Overlaps) {
				return forbidden(a, "podCIDR %s is that of node %q", theirs, other.Name)
			}
		}
	}
	return nil
}

func shares(n *corev1.Node) (all []netip.Prefix) {
	for _, s := range append([]string{n.Spec.PodCIDR}, n.Spec.PodCIDRs...) {
		if p, err := netip.ParsePrefix(s); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// changed returns the keys whose values differ.
func changed(a, b map[string]string) map[string]bool {
	keys := map[string]bool{}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			keys[k] = true
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys[k] = true
		}
	}
	return keys
}

// nodeLabels are the labels of the project's own domains that a node tells
// about itself.
var nodeLabels = map[string]bool{ // never changed
	corev1.LabelHostname: true, corev1.LabelTopologyZone: true, corev1.LabelTopologyRegion: true,
	corev1.LabelFailureDomainBetaZone: true, corev1.LabelFailureDomainBetaRegion: true,
	corev1.LabelInstanceType: true, corev1.LabelInstanceTypeStable: true,
	corev1.LabelOSStable: true, corev1.LabelArchStable: true,
	"beta.kubernetes.io/os": true, "beta.kubernetes.io/arch": true, corev1.LabelWindowsBuild: true,
}

// nodeMaySet: labels outside the project's domains are free, but those of
// node-restriction.kubernetes.io are the administrator's.
func nodeMaySet(key string) bool {
	domain, _, ok := strings.Cut(key, "/")
	if !ok {
		return true
	}
	in := func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }
	switch {
	case in("node-restriction.kubernetes.io"):
		return false
	case in("kubelet.kubernetes.io"), in("node.kubernetes.io"):
		return true
	case in("kubernetes.io"), in("k8s.io"):
		return nodeLabels[key]
	}
	return true
}

// token: only for ServiceAccounts of pods on the node, and bound to the pod.
func (p *NodeRestriction) token(a *Attributes, node string) error {
	request, ok := a.Object.(*authenticationv1.TokenRequest)
	if !ok {
		return nil
	}
	ref := request.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "" {
		return forbidden(a, "node requested token not bound to a pod")
	}
	if ref.UID == "" {
		return forbidden(a, "node requested token with a pod binding without a uid")
	}
	pod, ok := p.objects.Object(pods, a.Namespace, ref.Name).(*corev1.Pod)
	switch {
	case !ok:
		return forbidden(a, "pod %q not found", ref.Name)
	case pod.UID != ref.UID:
		return forbidden(a, "the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case pod.Spec.NodeName != node:
		return forbidden(a, "node requested token bound to a pod scheduled on a different node")
	}
	return audience(a, pod, request.Spec.Audiences, node)
}

// audience: only what the pod itself asks for, so that a node's credentials are
// no way to tokens that others trust (KEP-4412). None is the API server's.
func audience(a *Attributes, pod *corev1.Pod, asked []string, node string) error {
	if len(asked) > 1 {
		return forbidden(a, "node may only request 0 or 1 audiences")
	}
	want := ""
	if len(asked) == 1 {
		want = asked[0]
	}
	for i := range pod.Spec.Volumes {
		v := pod.Spec.Volumes[i].Projected
		if v == nil {
			continue
		}
		for j := range v.Sources {
			if t := v.Sources[j].ServiceAccountToken; t != nil && t.Audience == want {
				return nil
			}
		}
	}
	return forbidden(a, "audience %q not found in pod spec volume, system:node:%s is not authorized to request tokens for this audience", want, node)
}
