package main

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"clipper/internal/scheme"
)

const (
	kindExtension   = "x-kubernetes-group-version-kind"
	actionExtension = "x-kubernetes-action"
)

// extensionOf is a kind as extensions write it.
func extensionOf(gvk schema.GroupVersionKind) map[string]any {
	return map[string]any{"group": gvk.Group, "kind": gvk.Kind, "version": gvk.Version}
}

// modelKinds tells which kinds a model stands for.
type modelKinds map[string][]schema.GroupVersionKind

func kindsOf(t *scheme.Table) modelKinds {
	out := modelKinds{}
	add := func(model string, gvk schema.GroupVersionKind) { out[model] = append(out[model], gvk) }
	subresources := map[schema.GroupVersionKind]bool{}
	for _, r := range t.Resources() {
		gvk := r.GroupVersionKind()
		add(model(r.New()), gvk)
		if r.NewList != nil {
			add(model(r.NewList()), gvk.GroupVersion().WithKind(gvk.Kind+"List"))
		}
		for _, s := range r.Subresources {
			if s.Kind.Kind == "" || subresources[s.Kind] || t.ByKind(s.Kind) != nil {
				continue
			}
			subresources[s.Kind] = true
			add(model(t.NewObject(s.Kind)), s.Kind)
		}
	}
	for _, k := range []string{"APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"} {
		add(metaModel+k, schema.GroupVersionKind{Version: "v1", Kind: k})
	}
	for _, k := range []string{"DeleteOptions", "WatchEvent"} {
		for _, gv := range knownVersions() {
			add(metaModel+k, gv.WithKind(k))
		}
	}
	return out
}

// knownVersions are all that the published types know, served or not, in order.
func knownVersions() []schema.GroupVersion {
	out := []schema.GroupVersion{
		// These are in no client's scheme.
		{Group: "admission.k8s.io", Version: "v1"}, {Group: "admission.k8s.io", Version: "v1beta1"},
		{Group: "apiextensions.k8s.io", Version: "v1"}, {Group: "apiextensions.k8s.io", Version: "v1beta1"},
		{Group: "apiregistration.k8s.io", Version: "v1"}, {Group: "apiregistration.k8s.io", Version: "v1beta1"},
		{Group: "imagepolicy.k8s.io", Version: "v1alpha1"},
	}
	for gvk := range clientscheme.Scheme.AllKnownTypes() {
		if gvk.Kind == "DeleteOptions" {
			out = append(out, gvk.GroupVersion())
		}
	}
	slices.SortFunc(out, func(a, b schema.GroupVersion) int {
		if c := strings.Compare(a.Group, b.Group); c != 0 {
			return c
		}
		return strings.Compare(a.Version, b.Version)
	})
	return out
}

// named returns what names a definition and says which kinds it is of. For the
// document of one group version, what every version has is said of that alone.
func (m modelKinds) named(gv *schema.GroupVersion) func(name string) (string, spec.Extensions) {
	return func(name string) (string, spec.Extensions) {
		var list []any
		for _, gvk := range m[name] {
			core := gvk.Group == "" && gvk.Version == "v1"
			if gv == nil || !withKinds(name) || core || gvk.GroupVersion() == *gv {
				list = append(list, extensionOf(gvk))
			}
		}
		if list == nil {
			return name, nil
		}
		return name, spec.Extensions{kindExtension: list}
	}
}

// pruneDefaults leaves out defaults, which clients of version 2 never had.
func pruneDefaults(s spec.Schema) spec.Schema {
	s.Default = nil
	if s.Properties != nil {
		properties := make(map[string]spec.Schema, len(s.Properties))
		for name, p := range s.Properties {
			properties[name] = pruneDefaults(p)
		}
		s.Properties = properties
	}
	if s.Items != nil && s.Items.Schema != nil {
		items := pruneDefaults(*s.Items.Schema)
		s.Items = &spec.SchemaOrArray{Schema: &items}
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		more := pruneDefaults(*s.AdditionalProperties.Schema)
		s.AdditionalProperties = &spec.SchemaOrBool{Allows: s.AdditionalProperties.Allows, Schema: &more}
	}
	return s
}
