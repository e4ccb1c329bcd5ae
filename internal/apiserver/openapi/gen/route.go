package main

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"clipper/internal/scheme"
)

// route is a path with what it answers.
type route struct {
	path       string
	parameters []parameter
	operations []operation
}

// operation is one method of a route, in words that both versions of OpenAPI
// can be made from.
type operation struct {
	method string // "get", ...
	action string // "list", "connect", ...
	id     string
	about  string
	kind   schema.GroupVersionKind
	query  []parameter
	// body is the model of the request's body, "" for none.
	body      string
	bodyTypes []string
	optional  bool
	// answers are the models by status code; an empty one is a string.
	answers map[int]string
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

// routes lays out all paths of a group version.
func routes(t *scheme.Table, gv schema.GroupVersion) []route {
	base := "/apis/" + gv.Group + "/" + gv.Version
	if gv.Group == "" {
		base = "/api/" + gv.Version
	}
	out := []route{{path: base + "/", operations: []operation{{
		method: "get", id: "get" + tag(gv, true) + "APIResources", about: "Tell which resources there are.",
		answers: map[int]string{200: metaModel + "APIResourceList"}, types: objectTypes,
	}}}}
	for _, r := range t.Resources() {
		if r.GroupVersionKind().GroupVersion() == gv {
			out = append(out, resourceRoutes(t, r, base)...)
		}
	}
	return out
}

// tag names a group version in operations: "apps_v1", or "AppsV1" in their ids.
func tag(gv schema.GroupVersion, capital bool) string {
	group := gv.Group
	if group == "" {
		group = "core"
	}
	var parts []string
	for i, p := range strings.Split(strings.TrimSuffix(group, ".k8s.io"), ".") {
		if i > 0 || capital {
			p = title(p)
		}
		parts = append(parts, p)
	}
	if capital {
		return strings.Join(parts, "") + title(gv.Version)
	}
	return strings.Join(parts, "") + "_" + gv.Version
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

const metaModel = "io.k8s.apimachinery.pkg.apis.meta.v1."

// model is the name of an object's definition.
func model(o runtime.Object) string {
	return o.(interface{ OpenAPIModelName() string }).OpenAPIModelName()
}

func resourceRoutes(t *scheme.Table, r *scheme.Resource, base string) []route {
	in, scope := base, ""
	path := []parameter{pretty}
	if r.Namespaced {
		in, scope = base+"/namespaces/{namespace}", "Namespaced"
		path = []parameter{namespaceParameter, pretty}
	}
	n := namer{gv: tag(r.GroupVersionKind().GroupVersion(), true), scope: scope, kind: r.Kind}
	collection := route{path: in + "/" + r.Name, parameters: path}
	object := route{path: in + "/" + r.Name + "/{name}", parameters: append([]parameter{nameParameter}, path...)}
	self := model(r.New())
	for _, verb := range r.Verbs {
		op := operation{kind: r.GroupVersionKind(), types: objectTypes}
		switch verb {
		case "create":
			op.method, op.action, op.id, op.about = "post", "post", n.id("create", ""), "Create an object of kind "+r.Kind+"."
			op.query, op.body, op.bodyTypes = writeParameters, self, anyType
			op.answers = map[int]string{200: self, 201: self, 202: self}
			collection.operations = append(collection.operations, op)
		case "list":
			op.method, op.action, op.id, op.about = "get", "list", n.id("list", ""), "List or watch objects of kind "+r.Kind+"."
			op.query, op.types, op.answers = listParameters, listTypes, map[int]string{200: model(r.NewList())}
			collection.operations = append(collection.operations, op)
		case "deletecollection":
			op.method, op.action, op.id, op.about = "delete", verb, n.id("delete", "Collection"), "Delete all objects of kind "+r.Kind+" that are selected."
			op.query = merge(listParameters[:0:0], listParameters, deleteParameters)
			op.query = without(op.query, "watch", "allowWatchBookmarks")
			op.body, op.bodyTypes, op.optional = metaModel+"DeleteOptions", anyType, true
			op.answers = map[int]string{200: metaModel + "Status"}
			collection.operations = append(collection.operations, op)
		case "delete":
			op.method, op.action, op.id, op.about = "delete", verb, n.id("delete", ""), "Delete an object of kind "+r.Kind+"."
			op.query, op.body, op.bodyTypes, op.optional = deleteParameters, metaModel+"DeleteOptions", anyType, true
			op.answers = map[int]string{200: metaModel + "Status", 202: metaModel + "Status"}
			object.operations = append(object.operations, op)
		case "get", "update", "patch":
			object.operations = append(object.operations, objectOperation(verb, n, "", r.Kind, self, r.GroupVersionKind()))
		}
	}
	out := []route{collection}
	if len(object.operations) > 0 {
		out = append(out, object)
	}
	if r.Namespaced && r.HasVerb("list") {
		out = append(out, route{path: base + "/" + r.Name, parameters: []parameter{pretty}, operations: []operation{{
			method: "get", action: "list", id: "list" + n.gv + r.Kind + "ForAllNamespaces",
			about: "List or watch objects of kind " + r.Kind + " of all namespaces.", kind: r.GroupVersionKind(),
			query: listParameters, types: listTypes, answers: map[int]string{200: model(r.NewList())},
		}}})
	}
	for i := range r.Subresources {
		out = append(out, subresourceRoutes(t, r, &r.Subresources[i], object)...)
	}
	return out
}

// namer makes the ids of operations.
type namer struct{ gv, scope, kind string }

func (n namer) id(verb, infix string) string { return verb + n.gv + infix + n.scope + n.kind }

// objectOperation reads or writes one object, or a subresource of it.
func objectOperation(verb string, n namer, suffix, kind, self string, gvk schema.GroupVersionKind) operation {
	op := operation{kind: gvk, types: objectTypes, answers: map[int]string{200: self}}
	what := "an object of kind " + kind
	if suffix != "" {
		what = "the " + strings.ToLower(suffix) + " of " + what
	}
	switch verb {
	case "get":
		op.method, op.action, op.id, op.about = "get", "get", n.id("read", "")+suffix, "Read "+what+"."
	case "update":
		op.method, op.action, op.id, op.about = "put", "put", n.id("replace", "")+suffix, "Replace "+what+"."
		op.query, op.body, op.bodyTypes = writeParameters, self, anyType
		op.answers[201] = self
	case "patch":
		op.method, op.action, op.id, op.about = "patch", "patch", n.id("patch", "")+suffix, "Patch "+what+"."
		op.query, op.body, op.bodyTypes = patchParameters, metaModel+"Patch", patchTypes
		op.answers[201] = self
	}
	return op
}

func subresourceRoutes(t *scheme.Table, r *scheme.Resource, s *scheme.Subresource, object route) []route {
	n := namer{gv: tag(r.GroupVersionKind().GroupVersion(), true), scope: "", kind: r.Kind}
	if r.Namespaced {
		n.scope = "Namespaced"
	}
	suffix := title(s.Name)
	out := route{path: object.path + "/" + s.Name, parameters: object.parameters}
	gvk, self := r.GroupVersionKind(), model(r.New())
	if s.Kind.Kind != "" {
		gvk, self = s.Kind, model(t.NewObject(s.Kind))
	}
	switch {
	case strings.HasSuffix(gvk.Kind, "Options"):
		return connectRoutes(t, s, n, out, gvk)
	case s.Name == "log":
		op := objectOperation("get", n, suffix, r.Kind, "", gvk)
		op.types = append([]string{"text/plain"}, objectTypes...)
		op.query = options(t.NewObject(schema.GroupVersionKind{Version: "v1", Kind: "PodLogOptions"}))
		out.operations = []operation{op}
		return []route{out}
	}
	for _, verb := range s.Verbs {
		if verb == "create" {
			out.operations = append(out.operations, operation{
				method: "post", action: "post", id: n.id("create", "") + suffix, kind: gvk,
				about: fmt.Sprintf("Create the %s of an object of kind %s.", s.Name, r.Kind),
				query: writeParameters, body: self, bodyTypes: anyType, types: objectTypes,
				answers: map[int]string{200: self, 201: self, 202: self},
			})
			continue
		}
		out.operations = append(out.operations, objectOperation(verb, n, suffix, r.Kind, self, gvk))
	}
	return []route{out}
}

// connectRoutes are those of a subresource that connects to something else.
func connectRoutes(t *scheme.Table, s *scheme.Subresource, n namer, out route, gvk schema.GroupVersionKind) []route {
	methods := map[string]string{"create": "post", "get": "get", "delete": "delete", "patch": "patch", "update": "put"}
	connect := func(suffix string) []operation {
		var ops []operation
		for _, verb := range s.Verbs {
			m := methods[verb]
			ops = append(ops, operation{
				method: m, action: "connect", id: "connect" + n.gv + title(m) + n.scope + n.kind + title(s.Name) + suffix, kind: gvk,
				about: fmt.Sprintf("Connect to the %s of an object of kind %s.", s.Name, n.kind),
				types: anyType, answers: map[int]string{200: ""},
			})
		}
		return ops
	}
	out.parameters = merge(out.parameters[:0:0], without(out.parameters, pretty.name), options(t.NewObject(gvk)))
	out.operations = connect("")
	if s.Name != "proxy" {
		return []route{out}
	}
	below := route{path: out.path + "/{path}", parameters: merge(out.parameters[:0:0], out.parameters, []parameter{pathParameter}), operations: connect("WithPath")}
	return []route{out, below}
}
