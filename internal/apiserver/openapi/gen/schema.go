package main

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/builder3/util"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"clipper/internal/apiserver/openapi/gen/definitions"
	"clipper/internal/scheme"
)

const (
	kindExtension   = "x-kubernetes-group-version-kind"
	actionExtension = "x-kubernetes-action"
)

// reference returns what turns a model's name into a reference to it.
func reference(prefix string) common.ReferenceCallback {
	return func(name string) spec.Ref { return spec.MustCreateRef(prefix + name) }
}

// extensionOf is a kind as extensions write it.
func extensionOf(gvk schema.GroupVersionKind) map[string]any {
	return map[string]any{"group": gvk.Group, "kind": gvk.Kind, "version": gvk.Version}
}

// modelKinds tells which kinds a model stands for.
func modelKinds(t *scheme.Table) map[string][]any {
	out := map[string][]any{}
	add := func(model string, gvk schema.GroupVersionKind) { out[model] = append(out[model], extensionOf(gvk)) }
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
	core := schema.GroupVersion{Version: "v1"}
	for _, k := range []string{"APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"} {
		add(metaModel+k, core.WithKind(k))
	}
	for _, g := range t.Groups() {
		for _, v := range g.Versions {
			add(metaModel+"DeleteOptions", schema.GroupVersionKind{Group: g.Name, Version: v, Kind: "DeleteOptions"})
			add(metaModel+"WatchEvent", schema.GroupVersionKind{Group: g.Name, Version: v, Kind: "WatchEvent"})
		}
	}
	return out
}

// schemas returns the definitions of the named models and of all that they are
// made of.
type schemas struct {
	all   map[string]common.OpenAPIDefinition
	kinds map[string][]any
	// finish makes a definition ready for the version of OpenAPI.
	finish func(spec.Schema) spec.Schema
	used   map[string]*spec.Schema
}

func newSchemas(t *scheme.Table, prefix string, finish func(spec.Schema) spec.Schema) *schemas {
	return &schemas{
		all: definitions.GetOpenAPIDefinitions(reference(prefix)), kinds: modelKinds(t), finish: finish, used: map[string]*spec.Schema{},
	}
}

func (s *schemas) use(model string) {
	if model == "" || s.used[model] != nil {
		return
	}
	d, ok := s.all[model]
	if !ok {
		panic("no definition of " + model)
	}
	schema := s.finish(d.Schema)
	if kinds := s.kinds[model]; kinds != nil {
		schema.AddExtension(kindExtension, kinds)
	}
	s.used[model] = &schema
	for _, dependency := range d.Dependencies {
		s.use(dependency)
	}
}

// finishV3 wraps references that have something beside them, which version 3.0
// does not allow.
func finishV3(in spec.Schema) spec.Schema {
	out := in
	out.VendorExtensible.Extensions = copyExtensions(in.Extensions, common.ExtensionV2Schema)
	return *util.WrapRefs(&out)
}

// finishV2 takes the form that a definition has in version 2, without defaults,
// which its clients never had.
func finishV2(in spec.Schema) spec.Schema {
	if v2, ok := in.Extensions[common.ExtensionV2Schema].(spec.Schema); ok {
		in = v2
	}
	return pruneDefaults(in)
}

func pruneDefaults(s spec.Schema) spec.Schema {
	s.Default = nil
	s.VendorExtensible.Extensions = copyExtensions(s.Extensions)
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

// copyExtensions leaves the original alone, since definitions share theirs.
func copyExtensions(in spec.Extensions, drop ...string) spec.Extensions {
	var out spec.Extensions
	for k, v := range in {
		dropped := false
		for _, d := range drop {
			dropped = dropped || strings.EqualFold(k, d)
		}
		if dropped {
			continue
		}
		if out == nil {
			out = spec.Extensions{}
		}
		out[k] = v
	}
	return out
}
