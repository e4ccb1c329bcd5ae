package ownership

import (
	"fmt"
	"reflect"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// converter gives the merge library the schemas of the table's kinds. It is a
// managedfields.TypeConverter.
type converter struct{ *Tracker }

func (c converter) ObjectToTyped(obj runtime.Object, o ...typed.ValidationOptions) (*typed.TypedValue, error) {
	gvk := obj.GetObjectKind().GroupVersionKind()
	t, err := c.parseable(gvk)
	if err != nil {
		return nil, err
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return t.FromUnstructured(u.Object, o...)
	}
	return t.FromStructured(obj, o...)
}

func (c converter) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	switch o := v.AsValue().Unstructured().(type) {
	case map[string]any:
		return &unstructured.Unstructured{Object: o}, nil
	default:
		return nil, fmt.Errorf("a merge made a %T of an object", o)
	}
}

func (c converter) parseable(gvk schema.GroupVersionKind) (typed.ParseableType, error) {
	obj := c.table.NewObject(gvk)
	if obj == nil {
		return typed.ParseableType{}, fmt.Errorf("no schema of %v", gvk)
	}
	t := reflect.TypeOf(obj).Elem()
	if p, ok := c.schemas.Load(t); ok {
		return p.(typed.ParseableType), nil
	}
	b := builder{plans: &c.plans, names: map[reflect.Type]string{}}
	p := typed.ParseableType{TypeRef: b.named(c.plans.plan(t, ""))}
	p.Schema = &smd.Schema{Types: append(b.types, untyped)}
	stored, _ := c.schemas.LoadOrStore(t, p)
	return stored.(typed.ParseableType), nil
}

const untypedName = "untyped"

// untyped is what has no schema: it is owned as a whole.
var untyped = smd.TypeDef{Name: untypedName, Atom: anything}

var anything = smd.Atom{
	Scalar: ptr(smd.Untyped),
	List:   &smd.List{ElementType: refer(untypedName), ElementRelationship: smd.Atomic},
	Map:    &smd.Map{ElementType: refer(untypedName), ElementRelationship: smd.Atomic},
}

func ptr[T any](v T) *T { return &v }

func refer(name string) smd.TypeRef { return smd.TypeRef{NamedType: &name} }

// builder makes the merge library's schema of plans.
type builder struct {
	*plans
	names map[reflect.Type]string
	types []smd.TypeDef
}

// named returns a reference to the type of a structure.
func (b *builder) named(p *plan) smd.TypeRef {
	if name, ok := b.names[p.typ]; ok {
		return refer(name)
	}
	name := p.typ.Name() + "." + strconv.Itoa(len(b.names))
	b.names[p.typ] = name
	m := &smd.Map{}
	if rulesOf(p.typ)[""] == "atomic" {
		m.ElementRelationship = smd.Atomic
	}
	for _, f := range p.fields {
		m.Fields = append(m.Fields, smd.StructField{Name: f.name, Type: b.ref(b.of(f))})
	}
	b.types = append(b.types, smd.TypeDef{Name: name, Atom: smd.Atom{Map: m}})
	return refer(name)
}

func (b *builder) ref(p *plan) smd.TypeRef {
	switch p.form {
	case structure:
		r := b.named(p)
		switch of := rulesOf(p.typ)[""]; {
		case p.atomic && of == "":
			r.ElementRelationship = ptr(smd.Atomic)
		case !p.atomic && of == "atomic":
			r.ElementRelationship = ptr(smd.Separable)
		}
		return r
	case texts, mapping:
		m := &smd.Map{ElementType: b.ref(p.elem)}
		if p.atomic {
			m.ElementRelationship = smd.Atomic
		}
		return smd.TypeRef{Inlined: smd.Atom{Map: m}}
	case list:
		l := &smd.List{ElementType: b.ref(p.elem), ElementRelationship: smd.Atomic}
		if p.keyed {
			l.ElementRelationship = smd.Associative
			for i := range p.keys {
				l.Keys = append(l.Keys, p.keys[i].name)
				b.fallback(p.elem.typ, &p.keys[i])
			}
		}
		return smd.TypeRef{Inlined: smd.Atom{List: l}}
	}
	return smd.TypeRef{Inlined: leafAtom(p)}
}

// fallback states what a key is when it is left out where the type's fields are.
func (b *builder) fallback(t reflect.Type, k *key) {
	value := any(nil)
	switch {
	case k.fallback != nil:
		value = *k.fallback
	case k.field.width > 0 || k.field.omit != nil:
		return
	case k.field.typ.Kind() == reflect.String: // what always shows is zero then
		value = ""
	case k.field.typ.Kind() == reflect.Int32:
		value = 0
	default:
		return
	}
	for i := range b.types {
		if b.types[i].Name != b.names[t] {
			continue
		}
		for j := range b.types[i].Map.Fields {
			if f := &b.types[i].Map.Fields[j]; f.Name == k.name {
				f.Default = value
			}
		}
	}
}

func leafAtom(p *plan) smd.Atom {
	if p.raw {
		return anything
	}
	if p.single {
		return smd.Atom{Scalar: ptr(smd.Untyped)}
	}
	switch p.typ.Kind() {
	case reflect.String, reflect.Slice:
		return smd.Atom{Scalar: ptr(smd.String)}
	case reflect.Bool:
		return smd.Atom{Scalar: ptr(smd.Boolean)}
	case reflect.Interface, reflect.Struct:
		return anything
	}
	return smd.Atom{Scalar: ptr(smd.Numeric)}
}
