package scheme

import (
	"encoding/json"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// Settle gives an object the form that it has when it is read back from the
// store: an empty list or map, which protobuf cannot tell from none, becomes
// none, where JSON would show it ("rules": [] or null). The row is that of the
// stored version. Parts that are shared with a stored object have been settled
// with it, and are not touched.
func (r *Resource) Settle(obj runtime.Object) {
	if s := r.settler(); s != nil {
		s.settle(reflect.ValueOf(obj))
	}
}

// settlerOf returns how a kind is settled; one without protobuf needs nothing.
func settlerOf[T any, PT pointer[T]]() *settler {
	if !HasProtobuf(PT(new(T))) {
		return nil
	}
	return settlers{}.of(reflect.TypeFor[PT]())
}

// settler knows where a type has lists and maps that JSON always shows. Most
// kinds have none, and no settler.
type settler struct {
	empties bool          // the value itself is such a list or map
	elem    *settler      // of what a pointer leads to, or a list's items
	fields  []settleField // of a structure
}

type settleField struct {
	index int
	*settler
}

// settlers are those of the types met so far.
type settlers map[reflect.Type]*settler

// of returns how values of the type are settled, or nil if there is nothing.
func (s settlers) of(t reflect.Type) *settler {
	if p, ok := s[t]; ok {
		return p
	}
	// A type within itself is taken to need it until it is known.
	p := &settler{}
	s[t] = p
	if !s.fill(p, t) {
		s[t] = nil
		return nil
	}
	return p
}

var ownJSON = reflect.TypeFor[json.Marshaler]() // never changed

// fill makes p the settler of the type, and tells whether there is anything.
func (s settlers) fill(p *settler, t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		p.elem = s.of(t.Elem())
		return p.elem != nil
	case reflect.Struct:
		if t.Implements(ownJSON) || reflect.PointerTo(t).Implements(ownJSON) {
			return false
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() || f.Name == "ObjectMeta" || f.Name == "TypeMeta" {
				continue
			}
			if q := s.field(f); q != nil {
				p.fields = append(p.fields, settleField{i, q})
			}
		}
	}
	return len(p.fields) > 0
}

func (s settlers) field(f reflect.StructField) *settler {
	below := s.of(f.Type)
	repeated := f.Type.Kind() == reflect.Map || f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() != reflect.Uint8
	if !repeated || strings.Contains(f.Tag.Get("json"), ",omitempty") {
		return below
	}
	p := &settler{empties: true}
	if below != nil {
		p.elem = below.elem
	}
	return p
}

func (p *settler) settle(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			p.elem.settle(v.Elem())
		}
	case reflect.Slice, reflect.Map:
		if v.IsNil() {
			return
		}
		if v.Len() == 0 {
			if p.empties {
				v.SetZero()
			}
			return
		}
		if p.elem != nil {
			for i := range v.Len() {
				p.elem.settle(v.Index(i))
			}
		}
	case reflect.Struct:
		for i := range p.fields {
			p.fields[i].settle(v.Field(p.fields[i].index))
		}
	}
}
