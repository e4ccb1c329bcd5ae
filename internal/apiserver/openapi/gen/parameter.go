package main

import (
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// parameter is one of a path or query.
type parameter struct {
	name, in, kind, about string
}

var (
	namespaceParameter = parameter{"namespace", "path", "string", "object name and auth scope, such as for teams and projects"}
	pathParameter      = parameter{"path", "path", "string", "path to the resource"}
	pretty             = parameter{"pretty", "query", "string", "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget)."}
)

var (
	listParameters = fields(metav1.ListOptions{}, "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit",
		"resourceVersion", "resourceVersionMatch", "sendInitialEvents", "shardSelector", "timeoutSeconds", "watch")
	writeParameters  = fields(metav1.CreateOptions{}, "dryRun", "fieldManager", "fieldValidation")
	patchParameters  = fields(metav1.PatchOptions{}, "dryRun", "fieldManager", "fieldValidation", "force")
	deleteParameters = fields(metav1.DeleteOptions{}, "dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential",
		"orphanDependents", "propagationPolicy")
)

// fields are the named fields of an options type as parameters of a query.
func fields(o interface{ SwaggerDoc() map[string]string }, names ...string) []parameter {
	var out []parameter
	docs, t := o.SwaggerDoc(), reflect.TypeOf(o)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || names != nil && !slices.Contains(names, name) {
			continue
		}
		if f.Type == reflect.TypeFor[*metav1.Time]() {
			continue // upstream's documents lack what is no simple type
		}
		out = append(out, parameter{name, "query", kindOf(f.Type), docs[name]})
	}
	slices.SortFunc(out, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	return out
}

// options are all fields of the options of a connection.
func options(o runtime.Object) []parameter {
	v := reflect.ValueOf(o).Elem().Interface()
	return fields(v.(interface{ SwaggerDoc() map[string]string }))
}

// kindOf is what a query holds of a Go type; a list is given by repeating it.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return kindOf(t.Elem())
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "integer"
	}
	return "string"
}

// merge joins lists, each name once.
func merge(lists ...[]parameter) (out []parameter) {
	for _, list := range lists {
		for _, p := range list {
			if !slices.ContainsFunc(out, func(o parameter) bool { return o.name == p.name && o.in == p.in }) {
				out = append(out, p)
			}
		}
	}
	return out
}

func without(list []parameter, names ...string) []parameter {
	return slices.DeleteFunc(slices.Clone(list), func(p parameter) bool { return slices.Contains(names, p.name) })
}
