package scheme

import (
	"cmp"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// pointer is a pointer to T that is an object.
type pointer[T any] interface {
	*T
	runtime.Object
}

// row completes a stored kind: T is its object, L its list.
func row[T, L any, PT pointer[T], PL pointer[L]](r Resource) *Resource {
	p := single[T, PT](r)
	listKind := p.Kind + "List"
	p.NewList = func() runtime.Object {
		l := PL(new(L))
		setType(l, p.apiVersion, listKind)
		return l
	}
	return p
}

// single completes a kind that has no list.
func single[T any, PT pointer[T]](r Resource) *Resource {
	p := &r
	p.apiVersion = schema.GroupVersion{Group: p.Group, Version: p.Version}.String()
	p.New = func() runtime.Object {
		o := PT(new(T))
		setType(o, p.apiVersion, p.Kind)
		return o
	}
	if p.Default == nil {
		p.Default = func(runtime.Object) {}
	}
	if p.Fields == nil {
		p.Fields = selectable[T, PT](nil)
	}
	// A kind that has fields of its own says whether it has a namespace.
	p.plainFields = len(p.FieldNames) == 0
	common := []string{"metadata.name", "metadata.namespace"}
	if !p.plainFields && !p.Namespaced {
		common = common[:1]
	}
	p.FieldNames = append(common, p.FieldNames...)
	p.settler = sync.OnceValue(settlerOf[T, PT])
	p.jsonHead = jsonHead(p.apiVersion, p.Kind)
	p.protoHead = protoHead(p.apiVersion, p.Kind)
	if p.Stored == nil {
		p.Stored = p
	}
	return p
}

// setType states the kind in the object itself without allocating.
func setType(o runtime.Object, apiVersion, kind string) {
	if t, ok := o.GetObjectKind().(*metav1.TypeMeta); ok {
		t.APIVersion, t.Kind = apiVersion, kind
		return
	}
	o.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
}

// defaulter adapts a function over the kind's own type.
func defaulter[T any, PT pointer[T]](f func(*T)) func(runtime.Object) {
	return func(o runtime.Object) { f((*T)(o.(PT))) }
}

// selectable adapts a function that returns the named field of an object of
// the kind, and whether there is such a field; metadata is seen to here.
func selectable[T any, PT pointer[T]](get func(*T, string) (string, bool)) func(runtime.Object) fields.Fields {
	return func(o runtime.Object) fields.Fields { return &fieldsOf[T, PT]{o.(PT), get} }
}

type fieldsOf[T any, PT pointer[T]] struct {
	obj PT
	get func(*T, string) (string, bool)
}

func (f *fieldsOf[T, PT]) field(name string) (string, bool) {
	switch name {
	case "metadata.name", "metadata.namespace":
		m, err := meta.Accessor(f.obj)
		if err != nil {
			return "", false
		}
		if name == "metadata.name" {
			return m.GetName(), true
		}
		return m.GetNamespace(), true
	}
	if f.get == nil {
		return "", false
	}
	return f.get((*T)(f.obj), name)
}

func (f *fieldsOf[T, PT]) Has(name string) bool {
	_, ok := f.field(name)
	return ok
}

func (f *fieldsOf[T, PT]) Get(name string) string {
	v, _ := f.field(name)
	return v
}

// CheckFields returns an error, to be answered as a bad request, if the
// selector names a field that the row does not select by.
func (r *Resource) CheckFields(s fields.Selector) error {
	if s == nil || s.Empty() {
		return nil
	}
	for _, q := range s.Requirements() {
		if has(r.FieldNames, q.Field) {
			continue
		}
		if !r.plainFields {
			return fmt.Errorf(cmp.Or(r.unselected, "field label not supported: %s"), q.Field)
		}
		if _, _, err := runtime.DefaultMetaV1FieldSelectorConversion(q.Field, q.Value); err != nil {
			return err
		}
	}
	return nil
}
