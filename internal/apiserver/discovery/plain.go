package discovery

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"clipper/internal/scheme"
)

func (h *Handler) versions() runtime.Object {
	v := &metav1.APIVersions{
		TypeMeta: metav1.TypeMeta{Kind: "APIVersions", APIVersion: "v1"},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{
			{ClientCIDR: "0.0.0.0/0", ServerAddress: h.config.ServerAddress},
		},
	}
	for _, g := range h.config.Table.Groups() {
		if g.Name == "" {
			v.Versions = g.Versions
		}
	}
	return v
}

func (h *Handler) groups() runtime.Object {
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, g := range h.config.Table.Groups() {
		if g.Name != "" {
			list.Groups = append(list.Groups, apiGroup(g))
		}
	}
	return list
}

func (h *Handler) group(name string) runtime.Object {
	for _, g := range h.config.Table.Groups() {
		if g.Name == name {
			out := apiGroup(g)
			out.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
			return &out
		}
	}
	return nil
}

func apiGroup(g scheme.Group) metav1.APIGroup {
	out := metav1.APIGroup{Name: g.Name}
	for _, v := range g.Versions {
		out.Versions = append(out.Versions, metav1.GroupVersionForDiscovery{
			GroupVersion: schema.GroupVersion{Group: g.Name, Version: v}.String(), Version: v,
		})
	}
	out.PreferredVersion = out.Versions[0]
	return out
}

func (h *Handler) resources(group, version string) runtime.Object {
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: schema.GroupVersion{Group: group, Version: version}.String(),
		APIResources: []metav1.APIResource{},
	}
	for _, r := range h.config.Table.Resources() {
		if r.Group != group || r.Version != version {
			continue
		}
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: r.Name, SingularName: r.Singular, Namespaced: r.Namespaced, Kind: r.Kind, Verbs: r.Verbs,
			ShortNames: r.ShortNames, Categories: r.Categories, StorageVersionHash: storageVersionHash(r),
		})
		for _, s := range r.Subresources {
			out := metav1.APIResource{Name: r.Name + "/" + s.Name, Namespaced: r.Namespaced, Kind: r.Kind, Verbs: s.Verbs}
			if s.Kind.Kind != "" {
				out.Kind = s.Kind.Kind
				if s.Kind.GroupVersion() != r.GroupVersionKind().GroupVersion() {
					out.Group, out.Version = s.Kind.Group, s.Kind.Version
				}
			}
			list.APIResources = append(list.APIResources, out)
		}
	}
	slices.SortFunc(list.APIResources, func(a, b metav1.APIResource) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// storageVersionHash lets clients see that the stored form of a kind changed.
func storageVersionHash(r *scheme.Resource) string {
	if !r.IsStored() {
		return ""
	}
	sum := sha256.Sum256([]byte(r.Stored.Group + "/" + r.Stored.Version + "/" + r.Stored.Kind))
	return base64.StdEncoding.EncodeToString(sum[:8])
}
