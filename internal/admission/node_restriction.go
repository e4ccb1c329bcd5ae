package admission

import (
	"context"
	"maps"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
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
		return ownNodeOnly(a, node)
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
		for _, v := range pod.Spec.Volumes {
			if v.PersistentVolumeClaim != nil {
				return forbidden(a, "node %q can not create pods that reference persistentvolumeclaims", node)
			}
		}
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
	if old, ok := a.Old.(*corev1.Node); ok {
		had = old.Labels
		if a.Operation == Update && !equality.Semantic.DeepEqual(old.Spec.Taints, object.Spec.Taints) {
			return forbidden(a, "node %q is not allowed to modify taints", node)
		}
		if object.Spec.ConfigSource != nil && !equality.Semantic.DeepEqual(old.Spec.ConfigSource, object.Spec.ConfigSource) {
			return forbidden(a, "node %q is not allowed to update configSource to a new non-nil configSource", node)
		}
	}
	if len(object.OwnerReferences) > 0 && a.Operation == Create {
		return forbidden(a, "node %q is not allowed to set ownerReferences", node)
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
	return nil
}
