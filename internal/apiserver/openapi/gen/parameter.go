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
	nameParameter      = parameter{"name", "path", "string", "Name of the object."}
	namespaceParameter = parameter{"namespace", "path", "string", "Namespace of the object, where users and projects are kept apart."}
	pathParameter      = parameter{"path", "path", "string", "Rest of the path, which is passed on."}
	pretty             = parameter{"pretty", "query", "string", "If 'true', the answer is indented."}
)

var (
	listParameters = fields(metav1.ListOptions{}, "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit",
		"resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch")
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

// merge appends the lists to out, each name once.
func merge(out []parameter, lists ...[]parameter) []parameter {
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
