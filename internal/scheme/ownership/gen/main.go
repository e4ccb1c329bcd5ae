// Command gen writes rules.txt: how lists and maps of the API's Go types are
// owned and merged, where it is not the usual way. The types do not say it
// themselves; client-go's schema for server-side apply does.
package main

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/applyconfigurations"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
)

// beside are the rules of kinds that client-go's schema lacks, as their types'
// comments state them.
var beside = []string{ // never changed
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.CustomResourceDefinitionStatus conditions=type\n",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaProps x-kubernetes-validations=rule\n",
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1.APIServiceStatus conditions=type\n",
}

func main() {
	if err := os.WriteFile("rules.txt", []byte(text()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// text returns the rules of every type that an object of client-go's scheme is
// made of, a line each, sorted.
func text() string {
	g := gatherer{rules: map[reflect.Type][]string{}}
	types := applyconfigurations.NewTypeConverter(clientscheme.Scheme)
	for kind, t := range clientscheme.Scheme.AllKnownTypes() {
		obj, ok := reflect.New(t).Interface().(runtime.Object)
		if !ok {
			continue
		}
		obj.GetObjectKind().SetGroupVersionKind(kind)
		tv, err := types.ObjectToTyped(obj)
		if err != nil {
			continue // a list, or options
		}
		g.schema = tv.Schema()
		g.see(t, tv.TypeRef())
	}
	lines := slices.Clone(beside)
	for t, rules := range g.rules {
		if len(rules) > 0 {
			slices.Sort(rules)
			lines = append(lines, t.PkgPath()+"."+t.Name()+" "+strings.Join(rules, " ")+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

type gatherer struct {
	schema *schema.Schema
	rules  map[reflect.Type][]string
}

// see gathers the rules of a struct.
func (g *gatherer) see(t reflect.Type, ref schema.TypeRef) {
	atom, ok := g.schema.Resolve(ref)
	if !ok || atom.Map == nil || len(atom.Map.Fields) == 0 {
		return
	}
	if _, seen := g.rules[t]; seen {
		return
	}
	g.rules[t] = nil
	if atom.Map.ElementRelationship == schema.Atomic {
		g.rules[t] = append(g.rules[t], "=atomic")
	}
	g.fields(t, t, atom.Map)
}

func (g *gatherer) fields(of, t reflect.Type, m *schema.Map) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if strings.Contains(options, "inline") {
			g.fields(of, f.Type, m)
			continue
		}
		if sf, ok := m.FindField(name); ok {
			if rule := g.rule(f.Type, sf.Type); rule != "" {
				g.rules[of] = append(g.rules[of], name+"="+rule)
			}
		}
	}
}

// rule says how a field is owned; "" is the usual way: a list as a whole, a
// map or a struct by its items.
func (g *gatherer) rule(t reflect.Type, ref schema.TypeRef) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	atom, ok := g.schema.Resolve(ref)
	if !ok {
		return ""
	}
	switch t.Kind() {
	case reflect.Slice:
		if atom.List == nil {
			return "" // bytes
		}
		if e := elem(t); e.Kind() == reflect.Struct {
			g.see(e, atom.List.ElementType)
		}
		switch {
		case atom.List.ElementRelationship != schema.Associative:
			return ""
		case len(atom.List.Keys) == 0:
			return "set"
		}
		return strings.Join(g.keys(t, atom.List), ",")
	case reflect.Map:
		if e := elem(t); e.Kind() == reflect.Struct {
			g.see(e, atom.Map.ElementType)
		}
		if atom.Map.ElementRelationship == schema.Atomic {
			return "atomic"
		}
	case reflect.Struct:
		if atom.Map == nil {
			return ""
		}
		// What the type itself says need not be said at each field.
		plain := ref
		plain.ElementRelationship = nil
		g.see(t, plain)
		atomic := atom.Map.ElementRelationship == schema.Atomic
		if a, ok := g.schema.Resolve(plain); ok && len(a.Map.Fields) > 0 &&
			atomic == (a.Map.ElementRelationship == schema.Atomic) {
			return ""
		}
		if atomic {
			return "atomic"
		}
		return "granular"
	}
	return ""
}

// keys returns the fields that tell items of a list apart, with the value that
// one has when it is left out.
func (g *gatherer) keys(t reflect.Type, l *schema.List) []string {
	atom, _ := g.schema.Resolve(l.ElementType)
	keys := slices.Clone(l.Keys)
	for i, k := range keys {
		if f, ok := atom.Map.FindField(k); ok && f.Default != nil && omitted(elem(t), k) {
			keys[i] = fmt.Sprintf("%s:%v", k, f.Default)
		}
	}
	return keys
}

func elem(t reflect.Type) reflect.Type {
	t = t.Elem()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// omitted tells whether the field of that name may be left out.
func omitted(t reflect.Type, name string) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		n, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if strings.Contains(options, "inline") && omitted(f.Type, name) || n == name && strings.Contains(options, "omit") {
			return true
		}
	}
	return false
}
