package ownership

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	smd "sigs.k8s.io/structured-merge-diff/v6/schema"

	"clipper/internal/scheme"
)

// The schemas that are made of Go types and rules merge as client-go's do.
func TestSchemaAsUpstream(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	for _, r := range tracked(t, table) {
		want, err := upstream().ObjectToTyped(r.New())
		if err != nil {
			t.Fatal(err)
		}
		got, err := converter{tr}.parseable(r.GroupVersionKind())
		if err != nil {
			t.Fatal(err)
		}
		d := differ{want: want.Schema(), got: got.Schema, seen: map[string]bool{}}
		d.atoms(r.Kind, want.TypeRef(), got.TypeRef)
		for _, text := range d.found {
			t.Error(text)
		}
	}
}

type differ struct {
	want, got *smd.Schema
	seen      map[string]bool
	found     []string
}

func (d *differ) atoms(path string, want, got smd.TypeRef) {
	if want.NamedType != nil {
		relation := ""
		if want.ElementRelationship != nil {
			relation = string(*want.ElementRelationship)
		}
		name := *want.NamedType + relation
		if d.seen[name] {
			return
		}
		d.seen[name] = true
	}
	w, _ := d.want.Resolve(want)
	g, ok := d.got.Resolve(got)
	if !ok || (w.List == nil) != (g.List == nil) || (w.Map == nil) != (g.Map == nil) || !reflect.DeepEqual(w.Scalar, g.Scalar) {
		d.found = append(d.found, fmt.Sprintf("%s: want %+v, got %+v", path, w, g))
		return
	}
	separable := func(r smd.ElementRelationship) bool { return r != smd.Atomic && r != smd.Associative }
	if w.List != nil && w.Scalar == nil {
		a, b := w.List, g.List
		x, y := slices.Clone(a.Keys), slices.Clone(b.Keys)
		slices.Sort(x)
		slices.Sort(y)
		if a.ElementRelationship != b.ElementRelationship || !slices.Equal(x, y) {
			d.found = append(d.found, fmt.Sprintf("%s: want %+v, got %+v", path, a, b))
		}
		d.atoms(path+"[]", a.ElementType, b.ElementType)
		for _, k := range x {
			d.fallback(path+"."+k, a, b, k)
		}
	}
	if w.Map == nil || w.Scalar != nil {
		return
	}
	if a, b := w.Map.ElementRelationship, g.Map.ElementRelationship; a != b && !(separable(a) && separable(b)) {
		d.found = append(d.found, fmt.Sprintf("%s: want a map %q, got %q", path, a, b))
	}
	if len(w.Map.Fields) == 0 {
		if w.Map.ElementType != (smd.TypeRef{}) && len(g.Map.Fields) == 0 {
			d.atoms(path+"{}", w.Map.ElementType, g.Map.ElementType)
		}
		return
	}
	for _, f := range w.Map.Fields {
		if f.Name == "managedFields" {
			continue // nobody applies them
		}
		other, ok := g.Map.FindField(f.Name)
		if !ok {
			d.found = append(d.found, path+"."+f.Name+": not there")
			continue
		}
		d.atoms(path+"."+f.Name, f.Type, other.Type)
	}
	for _, f := range g.Map.Fields {
		if _, ok := w.Map.FindField(f.Name); !ok {
			d.found = append(d.found, path+"."+f.Name+": not known upstream")
		}
	}
}

// fallback compares what keys are that are left out.
func (d *differ) fallback(path string, a, b *smd.List, key string) {
	w, _ := d.want.Resolve(a.ElementType)
	g, _ := d.got.Resolve(b.ElementType)
	x, _ := w.Map.FindField(key)
	y, _ := g.Map.FindField(key)
	if y.Default != nil && !reflect.DeepEqual(x.Default, y.Default) {
		d.found = append(d.found, fmt.Sprintf("%s: want the default %v, got %v", path, x.Default, y.Default))
	}
}
