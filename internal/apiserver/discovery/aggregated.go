package discovery

import (
	"slices"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"clipper/internal/scheme"
)

// aggregated says all about the groups that are wanted.
func (h *Handler) aggregated(want func(group string) bool) runtime.Object {
	list := &apidiscoveryv2.APIGroupDiscoveryList{Items: []apidiscoveryv2.APIGroupDiscovery{}}
	for _, g := range h.config.Table.Groups() {
		if !want(g.Name) {
			continue
		}
		group := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
		for _, v := range g.Versions {
			group.Versions = append(group.Versions, apidiscoveryv2.APIVersionDiscovery{
				Version: v, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent, Resources: h.aggregatedResources(g.Name, v),
			})
		}
		list.Items = append(list.Items, group)
	}
	return list
}

func (h *Handler) aggregatedResources(group, version string) []apidiscoveryv2.APIResourceDiscovery {
	var out []apidiscoveryv2.APIResourceDiscovery
	for _, r := range h.config.Table.Resources() {
		if r.Group != group || r.Version != version {
			continue
		}
		out = append(out, aggregatedResource(r))
	}
	slices.SortFunc(out, func(a, b apidiscoveryv2.APIResourceDiscovery) int { return strings.Compare(a.Resource, b.Resource) })
	return out
}

func aggregatedResource(r *scheme.Resource) apidiscoveryv2.APIResourceDiscovery {
	out := apidiscoveryv2.APIResourceDiscovery{
		Resource:         r.Name,
		ResponseKind:     responseKind(r, r.GroupVersionKind()),
		Scope:            apidiscoveryv2.ScopeCluster,
		SingularResource: r.Singular,
		Verbs:            r.Verbs,
		ShortNames:       r.ShortNames,
		Categories:       r.Categories,
	}
	if r.Namespaced {
		out.Scope = apidiscoveryv2.ScopeNamespace
	}
	for _, s := range r.Subresources {
		kind := s.Kind
		if kind.Kind == "" {
			kind = r.GroupVersionKind()
		}
		out.Subresources = append(out.Subresources, apidiscoveryv2.APISubresourceDiscovery{
			Subresource:  s.Name,
			ResponseKind: responseKind(r, kind),
			Verbs:        s.Verbs,
		})
	}
	slices.SortFunc(out.Subresources, func(a, b apidiscoveryv2.APISubresourceDiscovery) int {
		return strings.Compare(a.Subresource, b.Subresource)
	})
	return out
}

// responseKind is the kind of an answer; group and version are said where they
// are not the row's, as upstream does.
func responseKind(r *scheme.Resource, kind schema.GroupVersionKind) *metav1.GroupVersionKind {
	if kind.GroupVersion() == r.GroupVersionKind().GroupVersion() {
		return &metav1.GroupVersionKind{Kind: kind.Kind}
	}
	return &metav1.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind}
}
