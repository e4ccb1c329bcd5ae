package auth

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
)

// NodePods finds the pods that are bound to a node; the watch cache's index
// does. The pods are shared and never changed.
type NodePods interface {
	PodsOn(node string) []*corev1.Pod
}

// NodeAuthorizer judges a kubelet's requests by the objects they touch: its
// own Node and Lease, the pods bound to it, and what those pods refer to. It
// looks at the pods as they are now, so there is no graph to keep.
type NodeAuthorizer struct {
	pods    NodePods
	objects Objects
}

// judge decides about one request of the kubelet of a node.
type judge func(n *NodeAuthorizer, node string, a *Attributes) (bool, string)

// nodeRules are what is judged object by object, by resource. What is not here
// falls to the grants of the group system:nodes.
var nodeRules = map[schema.GroupResource]judge{ // never changed
	{Resource: "nodes"}:                                      ownNode,
	{Resource: "pods"}:                                       ownPod,
	{Resource: "secrets"}:                                    referred(podSecrets),
	{Resource: "configmaps"}:                                 referred(podConfigMaps),
	{Resource: "persistentvolumeclaims"}:                     individually(referred(podClaims)),
	{Resource: "persistentvolumes"}:                          individually(ownVolume),
	{Resource: "serviceaccounts"}:                            ownToken,
	{Group: "coordination.k8s.io", Resource: "leases"}:       ownLease,
	{Group: "storage.k8s.io", Resource: "csinodes"}:          ownCSINode,
	{Group: "storage.k8s.io", Resource: "volumeattachments"}: individually(ownAttachment),
	{Group: "resource.k8s.io", Resource: "resourceslices"}:   ownSlice,
	{Group: "resource.k8s.io", Resource: "resourceclaims"}:   individually(referred(podResourceClaims)),
	{Resource: "users"}:                                      ownNetwork,
	{Resource: "groups"}:                                     ownNetwork,
}

const (
	noRelation = "no relationship found between node '"
	noName     = "No Object name found"
	onlyOne    = "can only get individual resources of this type"
)

// ownVerbs are what a node may do with the one object that has its name.
var ownVerbs = []string{"get", "create", "update", "patch", "delete"} // never changed

func (n *NodeAuthorizer) authorize(a Attributes) (bool, string) {
	node, ok := strings.CutPrefix(a.User.GetName(), nodePrefix)
	if !ok || node == "" {
		return false, "unknown node for user " + quote(a.User.GetName())
	}
	if a.Path != "" {
		return false, ""
	}
	j, ok := nodeRules[schema.GroupResource{Group: a.APIGroup, Resource: a.Resource}]
	if !ok {
		return false, ""
	}
	return j(n, node, &a)
}

func quote(s string) string { return "\"" + s + "\"" }

// selects tells whether the request's field selector leaves only objects whose
// field is value.
func selects(f fields.Requirements, field, value string) bool {
	for _, r := range f {
		if r.Field == field && r.Value == value && (r.Operator == selection.Equals || r.Operator == selection.DoubleEquals) {
			return true
		}
	}
	return false
}

// named returns the name of the one object a request can touch: by its path,
// or by a selector on metadata.name.
func named(a *Attributes) string {
	if a.Name != "" {
		return a.Name
	}
	for _, r := range a.Fields {
		if r.Field == "metadata.name" && (r.Operator == selection.Equals || r.Operator == selection.DoubleEquals) {
			return r.Value
		}
	}
	return ""
}

func reads(verb string) bool { return verb == "get" || verb == "list" || verb == "watch" }

// ownNetwork: a node may act as its own network (see NodeNetworkUser).
func ownNetwork(_ *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	if a.Verb != "impersonate" || a.Subresource != "" {
		return false, ""
	}
	own := NodeNetworkUser(node)
	if a.Resource == "groups" {
		own = NodeNetworks
	}
	return a.Name == own, "can only impersonate the network of the requesting node"
}

// ownNode: create any name (admission checks that it is the own), and read and
// change its own.
func ownNode(_ *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	switch {
	case a.Verb == "create" && a.Subresource == "":
		return true, ""
	case reads(a.Verb) && a.Subresource == "",
		(a.Verb == "update" || a.Verb == "patch") && (a.Subresource == "" || a.Subresource == "status"):
		if named(a) == node {
			return true, ""
		}
		switch name := named(a); {
		case !reads(a.Verb):
			return false, "node '" + node + "' can only change its own Node object"
		case name == "":
			return false, "node '" + node + "' cannot read all nodes, only its own Node object"
		default:
			return false, "node '" + node + "' cannot read '" + name + "', only its own Node object"
		}
	}
	return false, ""
}

func ownPod(n *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	switch {
	case (a.Verb == "list" || a.Verb == "watch") && a.Subresource == "" && selects(a.Fields, "spec.nodeName", node):
		return true, ""
	case a.Verb == "create" && a.Subresource == "":
		return true, "" // mirror pods; admission checks that they are
	}
	own := a.Verb == "get" && a.Subresource == "" ||
		a.Verb == "delete" && a.Subresource == "" ||
		(a.Verb == "update" || a.Verb == "patch") && a.Subresource == "status" ||
		a.Verb == "create" && a.Subresource == "eviction" ||
		(a.Verb == "list" || a.Verb == "watch") && a.Subresource == ""
	if !own {
		return false, ""
	}
	if name := named(a); name != "" && a.Namespace != "" {
		o := n.objects.Object(schema.GroupResource{Resource: "pods"}, a.Namespace, name)
		if pod, ok := o.(*corev1.Pod); ok && pod.Spec.NodeName == node {
			return true, ""
		}
		if o == nil && (a.Subresource == "status" || a.Verb == "delete") {
			return true, "" // it is told that the pod is gone; admission checks the one that comes
		}
		return false, noRelation + node + "' and this object"
	}
	return false, "can only list/watch pods with spec.nodeName field selector"
}

// referred allows to read the objects that references finds in a pod of the node.
func referred(references func(pod *corev1.Pod, name string) bool) judge {
	return func(n *NodeAuthorizer, node string, a *Attributes) (bool, string) {
		if !reads(a.Verb) || a.Subresource != "" {
			return false, "can only read resources of this type"
		}
		name := named(a)
		if name == "" {
			return false, noName
		}
		if a.Namespace == "" {
			return false, "can only read namespaced object of this type"
		}
		for _, pod := range n.pods.PodsOn(node) {
			if pod.Namespace == a.Namespace && references(pod, name) {
				return true, ""
			}
		}
		return false, noRelation + node + "' and this object"
	}
}

// individually allows to get single objects alone.
func individually(j judge) judge {
	return func(n *NodeAuthorizer, node string, a *Attributes) (bool, string) {
		switch {
		case a.Verb != "get" || a.Subresource != "":
			return false, onlyOne
		case a.Name == "":
			return false, noName
		}
		return j(n, node, a)
	}
}

// ownVolume: a volume that a claim of one of the node's pods is bound to.
func ownVolume(n *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	v, ok := n.objects.Object(schema.GroupResource{Resource: "persistentvolumes"}, "", named(a)).(*corev1.PersistentVolume)
	if ok && v.Spec.ClaimRef != nil {
		for _, pod := range n.pods.PodsOn(node) {
			if pod.Namespace == v.Spec.ClaimRef.Namespace && podClaims(pod, v.Spec.ClaimRef.Name) {
				return true, ""
			}
		}
	}
	return false, noRelation + node + "' and this object"
}

// ownToken: tokens of ServiceAccounts that the node's pods run as. Reading the
// ServiceAccount itself needs the same.
func ownToken(n *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	create := a.Verb == "create" && a.Subresource == "token"
	get := a.Verb == "get" && a.Subresource == ""
	if !create && !get || a.Name == "" {
		return false, "can only create tokens for individual service accounts"
	}
	for _, pod := range n.pods.PodsOn(node) {
		if pod.Namespace == a.Namespace && pod.Spec.ServiceAccountName == a.Name {
			return true, ""
		}
	}
	return false, noRelation + node + "' and this object"
}

// ownLease: the heartbeat of the node's name.
func ownLease(_ *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	if !slices.Contains(ownVerbs, a.Verb) {
		return false, "can only get, create, update, patch, or delete a node lease"
	}
	if a.Namespace != corev1.NamespaceNodeLease {
		return false, "can only access leases in the " + quote(corev1.NamespaceNodeLease) + " system namespace"
	}
	return ownName(node, a, "can only access node lease with the same name as the requesting node")
}

func ownCSINode(_ *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	if !slices.Contains(ownVerbs, a.Verb) {
		return false, "can only get, create, update, patch, or delete a CSINode"
	}
	return ownName(node, a, "can only access CSINode with the same name as the requesting node")
}

func ownName(node string, a *Attributes, otherwise string) (bool, string) {
	if a.Subresource != "" {
		return false, ""
	}
	switch a.Verb {
	case "create":
		// The name may be in the body only; admission checks it there.
		if a.Name == "" || a.Name == node {
			return true, ""
		}
	default:
		if a.Name == node {
			return true, ""
		}
	}
	return false, otherwise
}

func ownSlice(n *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	switch a.Verb {
	case "create":
		return true, "" // admission checks spec.nodeName
	case "get", "update", "patch", "delete":
		if a.Name == "" {
			return false, noName
		}
		o := n.objects.Object(schema.GroupResource{Group: a.APIGroup, Resource: a.Resource}, "", a.Name)
		if s, ok := o.(*resourcev1.ResourceSlice); ok && s.Spec.NodeName != nil && *s.Spec.NodeName == node {
			return true, ""
		}
		return false, noRelation + node + "' and this object"
	case "list", "watch", "deletecollection":
		if selects(a.Fields, "spec.nodeName", node) {
			return true, ""
		}
	}
	return false, "can only list/watch/deletecollection resourceslices with nodeName field selector"
}

// ownAttachment: an attachment of a volume to the node.
func ownAttachment(n *NodeAuthorizer, node string, a *Attributes) (bool, string) {
	o := n.objects.Object(schema.GroupResource{Group: a.APIGroup, Resource: a.Resource}, "", a.Name)
	if va, ok := o.(*storagev1.VolumeAttachment); ok && va.Spec.NodeName == node {
		return true, ""
	}
	return false, noRelation + node + "' and this object"
}

func podSecrets(pod *corev1.Pod, name string) bool {
	for _, s := range pod.Spec.ImagePullSecrets {
		if s.Name == name {
			return true
		}
	}
	if anyContainer(pod, func(c *corev1.Container) bool {
		return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
			return e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && e.ValueFrom.SecretKeyRef.Name == name
		}) || slices.ContainsFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool {
			return e.SecretRef != nil && e.SecretRef.Name == name
		})
	}) {
		return true
	}
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		switch {
		case v.Secret != nil:
			return v.Secret.SecretName == name
		case v.Projected != nil:
			return slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
				return s.Secret != nil && s.Secret.Name == name
			})
		case v.CSI != nil:
			return v.CSI.NodePublishSecretRef != nil && v.CSI.NodePublishSecretRef.Name == name
		}
		return volumeSecret(&v) == name
	})
}

// volumeSecret returns the secret that a volume of one of the older types names.
func volumeSecret(v *corev1.Volume) string {
	var ref *corev1.LocalObjectReference
	switch {
	case v.AzureFile != nil:
		return v.AzureFile.SecretName
	case v.CephFS != nil:
		ref = v.CephFS.SecretRef
	case v.FlexVolume != nil:
		ref = v.FlexVolume.SecretRef
	case v.ISCSI != nil:
		ref = v.ISCSI.SecretRef
	case v.RBD != nil:
		ref = v.RBD.SecretRef
	}
	if ref == nil {
		return ""
	}
	return ref.Name
}

func podConfigMaps(pod *corev1.Pod, name string) bool {
	return anyContainer(pod, func(c *corev1.Container) bool {
		return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
			return e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil && e.ValueFrom.ConfigMapKeyRef.Name == name
		}) || slices.ContainsFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool {
			return e.ConfigMapRef != nil && e.ConfigMapRef.Name == name
		})
	}) || slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		switch {
		case v.ConfigMap != nil:
			return v.ConfigMap.Name == name
		case v.Projected != nil:
			return slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
				return s.ConfigMap != nil && s.ConfigMap.Name == name
			})
		}
		return false
	})
}

func podClaims(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == name ||
			v.Ephemeral != nil && pod.Name+"-"+v.Name == name
	})
}

func podResourceClaims(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Spec.ResourceClaims, func(c corev1.PodResourceClaim) bool {
		return c.ResourceClaimName != nil && *c.ResourceClaimName == name
	}) || slices.ContainsFunc(pod.Status.ResourceClaimStatuses, func(s corev1.PodResourceClaimStatus) bool {
		return s.ResourceClaimName != nil && *s.ResourceClaimName == name
	})
}

func anyContainer(pod *corev1.Pod, f func(*corev1.Container) bool) bool {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if f(&list[i]) {
				return true
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		c := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		if f(&c) {
			return true
		}
	}
	return false
}
