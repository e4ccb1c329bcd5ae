package main

import (
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	goversion "k8s.io/apimachinery/pkg/version"

	"clipper/internal/apiserver/strategy"
	"clipper/internal/scheme"
)

// operation is one method of a path, in words that both versions of OpenAPI
// can be made from.
type operation struct {
	method, path string
	action       string // "list", "connect", ...
	id, tag      string
	about        string
	kind         schema.GroupVersionKind
	params       []parameter
	// body is a value of what the request carries, nil for nothing.
	body      any
	bodyTypes []string
	optional  bool
	// answers are values by status code.
	answers map[int]any
	types   []string
}

// What requests and answers may be written in.
var (
	objectTypes = []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
	listTypes   = append(objectTypes[:3:3], "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
	patchTypes  = []string{
		"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
		"application/apply-patch+yaml",
	}
	anyType = []string{"*/*"}
)

// document is the operations below one path, by the name of version 3.
type document struct {
	name       string
	gv         *schema.GroupVersion // nil if there are no objects
	operations []operation
}

// documents lays out all that is served.
func documents(t *scheme.Table) []document {
	about := func(name, path, tag, id, text string, types []string, answer any) document {
		op := operation{
			method: "get", path: path, tag: tag, id: "get" + id, about: text, types: types, answers: map[int]any{200: answer},
		}
		if answer != "" {
			op.bodyTypes = types // though there is none
		}
		return document{name: name, operations: []operation{op}}
	}
	out := []document{
		about(".well-known/openid-configuration", "/.well-known/openid-configuration/", "WellKnown", "ServiceAccountIssuerOpenIDConfiguration",
			"get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'", []string{"application/json"}, ""),
		about("openid/v1/jwks", "/openid/v1/jwks/", "openid", "ServiceAccountIssuerOpenIDKeyset",
			"get service account issuer OpenID JSON Web Key Set (contains public token verification keys)", []string{"application/jwk-set+json"}, ""),
		about("version", "/version/", "version", "CodeVersion", "get the version information for this server", []string{"application/json"}, goversion.Info{}),
		about("api", "/api/", "core", "CoreAPIVersions", "get available API versions", objectTypes, metav1.APIVersions{}),
		about("apis", "/apis/", "apis", "APIVersions", "get available API versions", objectTypes, metav1.APIGroupList{}),
	}
	for _, g := range t.Groups() {
		if g.Name != "" {
			tag, name := groupTag(g.Name, false), groupTag(g.Name, true)
			out = append(out, about("apis/"+g.Name, "/apis/"+g.Name+"/", tag, name+"APIGroup", "get information of a group", objectTypes, metav1.APIGroup{}))
		}
		for _, v := range g.Versions {
			out = append(out, objects(t, schema.GroupVersion{Group: g.Name, Version: v}))
		}
	}
	return out
}

// objects lays out all paths of a group version.
func objects(t *scheme.Table, gv schema.GroupVersion) document {
	name := "apis/" + gv.Group + "/" + gv.Version
	if gv.Group == "" {
		name = "api/" + gv.Version
	}
	d := document{name: name, gv: &gv, operations: []operation{{
		method: "get", path: "/" + name + "/", id: "get" + tag(gv, true) + "APIResources", about: "get available resources",
		answers: map[int]any{200: metav1.APIResourceList{}}, types: objectTypes, bodyTypes: objectTypes,
	}}}
	strategies := strategy.New()
	for _, r := range t.Resources() {
		if r.GroupVersionKind().GroupVersion() == gv {
			s := strategies[r.Stored.GroupResource()]
			k := kind{Resource: r, table: t, base: "/" + name, returned: s != nil && s.ReturnDeleted}
			d.operations = append(d.operations, k.operations()...)
		}
	}
	for i := range d.operations {
		op := &d.operations[i]
		op.tag = tag(gv, false)
		if op.bodyTypes == nil {
			op.bodyTypes = anyType
		}
	}
	return d
}

// groupTag names a group in operations: "apps", or "Apps" in their ids.
func groupTag(group string, capital bool) string {
	if group == "" {
		group = "core"
	}
	var out strings.Builder
	for i, p := range strings.Split(strings.TrimSuffix(group, ".k8s.io"), ".") {
		if i > 0 || capital {
			p = title(p)
		}
		out.WriteString(p)
	}
	return out.String()
}

// tag names a group version: "apps_v1", or "AppsV1" in ids.
func tag(gv schema.GroupVersion, capital bool) string {
	if capital {
		return groupTag(gv.Group, true) + title(gv.Version)
	}
	return groupTag(gv.Group, false) + "_" + gv.Version
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// kind is a row of the table, in one version.
type kind struct {
	*scheme.Resource
	table    *scheme.Table
	base     string
	returned bool // what is deleted is the answer
}

// id is the name of an operation: its verb, the group version, and the kind.
func (k *kind) id(verb, infix, suffix string) string {
	if k.Namespaced {
		infix += "Namespaced"
	}
	return verb + tag(k.GroupVersionKind().GroupVersion(), true) + infix + k.Kind + suffix
}

// one is the kind with its article; a name that is a plural has none.
func (k *kind) one() string {
	switch {
	case strings.HasSuffix(k.Kind, "s") && !strings.HasSuffix(k.Kind, "ss"):
		return k.Kind
	case strings.ContainsAny(k.Kind[:1], "AEIOU"):
		return "an " + k.Kind
	}
	return "a " + k.Kind
}

// at returns where the collection is, below an optional prefix, and the
// parameters of its path.
func (k *kind) at(prefix string) (string, []parameter) {
	if k.Namespaced {
		return k.base + prefix + "/namespaces/{namespace}/" + k.Name, []parameter{namespaceParameter, pretty}
	}
	return k.base + prefix + "/" + k.Name, []parameter{pretty}
}

func (k *kind) operations() []operation {
	var out []operation
	collection, params := k.at("")
	object := collection + "/{name}"
	named := append([]parameter{{"name", "path", "string", "name of the " + k.Kind}}, params...)
	var watches []operation
	for _, verb := range k.Verbs {
		op := operation{kind: k.GroupVersionKind(), types: objectTypes, action: verb, path: collection, params: params}
		switch verb {
		case "create":
			op.method, op.action, op.id, op.about = "post", "post", k.id("create", "", ""), "create "+k.one()
			op.params, op.body, op.bodyTypes = merge(params, writeParameters), k.New(), anyType
			op.answers = map[int]any{200: k.New(), 201: k.New(), 202: k.New()}
		case "list":
			op.method, op.id, op.about = "get", k.id("list", "", ""), k.listing()
			op.params, op.types, op.answers = merge(params, listParameters), listTypes, map[int]any{200: k.NewList()}
		case "deletecollection":
			op.method, op.id, op.about = "delete", k.id("delete", "Collection", ""), "delete collection of "+k.Kind
			op.params = merge(params, without(listParameters, "watch", "allowWatchBookmarks"), deleteParameters)
			op.body, op.bodyTypes, op.optional = metav1.DeleteOptions{}, anyType, true
			op.answers = map[int]any{200: metav1.Status{}}
		case "delete":
			op.method, op.path, op.id, op.about = "delete", object, k.id("delete", "", ""), "delete "+k.one()
			op.params = merge(named, deleteParameters)
			op.body, op.bodyTypes, op.optional = metav1.DeleteOptions{}, anyType, true
			op.answers = map[int]any{200: metav1.Status{}, 202: metav1.Status{}}
			if k.returned {
				op.answers = map[int]any{200: k.New(), 202: k.New()}
			}
		case "get", "update", "patch":
			op = k.object(verb, "", object, named, k.New())
		case "watch":
			watches = k.watches()
			continue
		}
		out = append(out, op)
	}
	if k.Namespaced && k.HasVerb("list") {
		out = append(out, operation{
			method: "get", path: k.base + "/" + k.Name, action: "list", id: "list" + tag(k.GroupVersionKind().GroupVersion(), true) + k.Kind + "ForAllNamespaces",
			about: k.listing(), kind: k.GroupVersionKind(), params: merge([]parameter{pretty}, listParameters), types: listTypes,
			answers: map[int]any{200: k.NewList()},
		})
	}
	out = append(out, watches...)
	for i := range k.Subresources {
		out = append(out, k.subresource(&k.Subresources[i], object, named)...)
	}
	return out
}

func (k *kind) listing() string {
	if k.HasVerb("watch") {
		return "list or watch objects of kind " + k.Kind
	}
	return "list objects of kind " + k.Kind
}

// watches are the older paths of watches.
func (k *kind) watches() []operation {
	const instead = " deprecated: use the 'watch' parameter with a list operation instead"
	collection, params := k.at("/watch")
	op := operation{
		method: "get", kind: k.GroupVersionKind(), types: listTypes, answers: map[int]any{200: metav1.WatchEvent{}},
		path: collection, action: "watchlist", id: k.id("watch", "", "List"),
		about: "watch individual changes to a list of " + k.Kind + "." + instead + ".", params: merge(params, listParameters),
	}
	out := []operation{op}
	if k.Namespaced {
		op.path, op.params = k.base+"/watch/"+k.Name, merge([]parameter{pretty}, listParameters)
		op.id = "watch" + tag(k.GroupVersionKind().GroupVersion(), true) + k.Kind + "ListForAllNamespaces"
		out = append(out, op)
	}
	if k.HasVerb("get") {
		op.path, op.action, op.id = collection+"/{name}", "watch", k.id("watch", "", "")
		op.about = "watch changes to an object of kind " + k.Kind + "." + instead + ", filtered to a single item with the 'fieldSelector' parameter."
		op.params = merge([]parameter{{"name", "path", "string", "name of the " + k.Kind}}, params, listParameters)
		out = append(out, op)
	}
	return out
}

// object reads or writes one object, or a subresource of it.
func (k *kind) object(verb, sub, path string, params []parameter, self any) operation {
	op := operation{kind: k.GroupVersionKind(), path: path, params: params, types: objectTypes, answers: map[int]any{200: self}}
	what, suffix := "the specified "+k.Kind, ""
	if sub != "" {
		what, suffix = sub+" of the specified "+k.Kind, title(sub)
	}
	switch verb {
	case "get":
		op.method, op.action, op.id, op.about = "get", "get", k.id("read", "", suffix), "read "+what
	case "update":
		op.method, op.action, op.id, op.about = "put", "put", k.id("replace", "", suffix), "replace "+what
		op.params, op.body, op.bodyTypes = merge(params, writeParameters), self, anyType
		op.answers[201] = self
	case "patch":
		op.method, op.action, op.id, op.about = "patch", "patch", k.id("patch", "", suffix), "partially update "+what
		op.params, op.body, op.bodyTypes = merge(params, patchParameters), metav1.Patch{}, patchTypes
		op.answers[201] = self
	}
	return op
}

func (k *kind) subresource(s *scheme.Subresource, object string, params []parameter) []operation {
	path := object + "/" + s.Name
	gvk, self := k.GroupVersionKind(), k.New()
	if s.Kind.Kind != "" {
		gvk, self = s.Kind, k.table.NewObject(s.Kind)
		params = merge([]parameter{{"name", "path", "string", "name of the " + s.Kind.Kind}}, without(params, "name"))
	}
	switch {
	case strings.HasSuffix(gvk.Kind, "Options"):
		return k.connect(s, path, params, gvk)
	case s.Name == "log":
		op := k.object("get", s.Name, path, params, "")
		op.types = append([]string{"text/plain"}, objectTypes...)
		op.params = merge(params, options(k.table.NewObject(schema.GroupVersionKind{Version: "v1", Kind: "PodLogOptions"})))
		return []operation{op}
	}
	var out []operation
	for _, verb := range s.Verbs {
		op := k.object(verb, s.Name, path, params, self)
		if verb == "create" {
			op.method, op.action, op.id, op.about = "post", "post", k.id("create", "", title(s.Name)), "create "+s.Name+" of "+k.one()
			op.params, op.body, op.bodyTypes = merge(params, writeParameters), self, anyType
			op.answers = map[int]any{200: self, 201: self, 202: self}
		}
		op.kind = gvk
		out = append(out, op)
	}
	return out
}

// connect is a subresource that leads to something else.
func (k *kind) connect(s *scheme.Subresource, path string, params []parameter, gvk schema.GroupVersionKind) []operation {
	methods := []string{http.MethodGet, http.MethodPost}
	if s.Name == "proxy" {
		methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodHead, http.MethodPatch}
	}
	params = merge(without(params, pretty.name), options(k.table.NewObject(gvk)))
	var out []operation
	for _, m := range methods {
		op := operation{
			method: strings.ToLower(m), path: path, action: "connect", kind: gvk, types: anyType, answers: map[int]any{200: ""}, params: params,
			about: "connect " + m + " requests to " + s.Name + " of " + k.Kind, id: k.id("connect", title(strings.ToLower(m)), title(s.Name)),
		}
		out = append(out, op)
		if s.Name == "proxy" {
			op.path, op.id, op.params = path+"/{path}", op.id+"WithPath", merge(params, []parameter{pathParameter})
			out = append(out, op)
		}
	}
	return out
}

// model is the name of an object's definition.
func model(o runtime.Object) string {
	return o.(interface{ OpenAPIModelName() string }).OpenAPIModelName()
}

// withKinds tells whether the model's kinds are listed for each document.
func withKinds(model string) bool {
	return slices.Contains([]string{metaModel + "DeleteOptions", metaModel + "WatchEvent"}, model)
}

const metaModel = "io.k8s.apimachinery.pkg.apis.meta.v1."
