package ownership

import (
	"bytes"
	"encoding/json"
	"reflect"
	"unsafe"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func same[T comparable](a, b unsafe.Pointer) bool { return *(*T)(a) == *(*T)(b) }

// scalar returns how two values of a type without parts are compared.
func scalar(t reflect.Type) func(a, b unsafe.Pointer) bool {
	switch t.Kind() {
	case reflect.String:
		return same[string]
	case reflect.Bool:
		return same[bool]
	case reflect.Int32, reflect.Uint32:
		return same[int32]
	case reflect.Int64, reflect.Uint64, reflect.Int, reflect.Uint, reflect.Uintptr:
		return same[int64]
	case reflect.Float64:
		return same[float64]
	case reflect.Float32:
		return same[float32]
	}
	return func(a, b unsafe.Pointer) bool {
		return equality.Semantic.DeepEqual(reflect.NewAt(t, a).Elem().Interface(), reflect.NewAt(t, b).Elem().Interface())
	}
}

// special completes the plan of a type that writes its own JSON, which is a
// single value.
func special(p *plan) bool {
	switch reflect.Zero(p.typ).Interface().(type) {
	case metav1.Time:
		p.null = func(v unsafe.Pointer) bool { return (*metav1.Time)(v).IsZero() }
		p.equal = func(a, b unsafe.Pointer) bool { return (*metav1.Time)(a).Unix() == (*metav1.Time)(b).Unix() }
	case metav1.MicroTime:
		p.null = func(v unsafe.Pointer) bool { return (*metav1.MicroTime)(v).IsZero() }
		p.equal = func(a, b unsafe.Pointer) bool {
			return (*metav1.MicroTime)(a).UnixMicro() == (*metav1.MicroTime)(b).UnixMicro()
		}
	case metav1.Duration:
		p.equal = same[int64]
	case resource.Quantity:
		p.equal = func(a, b unsafe.Pointer) bool {
			x, y := (*resource.Quantity)(a), (*resource.Quantity)(b)
			// The same number in another format is another text.
			return x.Format == y.Format && x.Cmp(*y) == 0
		}
	case intstr.IntOrString:
		p.equal = func(a, b unsafe.Pointer) bool {
			x, y := (*intstr.IntOrString)(a), (*intstr.IntOrString)(b)
			if x.Type != y.Type {
				return false
			}
			return x.Type == intstr.Int && x.IntVal == y.IntVal || x.Type == intstr.String && x.StrVal == y.StrVal
		}
	default:
		if p.typ.Kind() == reflect.Interface || !p.typ.Implements(marshaler) && !reflect.PointerTo(p.typ).Implements(marshaler) {
			return false
		}
		p.raw = true
		p.equal = func(a, b unsafe.Pointer) bool { return sameJSON(jsonOf(p.typ, a), jsonOf(p.typ, b)) }
		p.null = func(v unsafe.Pointer) bool { return string(jsonOf(p.typ, v)) == "null" }
	}
	p.single = true
	return true
}

var marshaler = reflect.TypeFor[json.Marshaler]()

func jsonOf(t reflect.Type, v unsafe.Pointer) []byte {
	// What is stored as it came needs no writing.
	if raw, ok := reflect.NewAt(t, v).Interface().(*runtime.RawExtension); ok && raw.Object == nil && raw.Raw != nil {
		return raw.Raw
	}
	b, err := json.Marshal(reflect.NewAt(t, v).Interface())
	if err != nil {
		return nil
	}
	return b
}

// sameJSON tells whether two documents say the same.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

// empty returns what encoding/json takes for empty.
func empty(t reflect.Type) func(unsafe.Pointer) bool {
	switch t.Kind() {
	case reflect.Pointer:
		return func(p unsafe.Pointer) bool { return *(*unsafe.Pointer)(p) == nil }
	case reflect.Map:
		return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Elem().Len() == 0 }
	case reflect.Slice:
		return func(p unsafe.Pointer) bool { return (*header)(p).len == 0 }
	case reflect.Struct, reflect.Array:
		return nil
	case reflect.String:
		return func(p unsafe.Pointer) bool { return *(*string)(p) == "" }
	}
	return zero(t)
}

// zero returns what encoding/json takes for zero.
func zero(t reflect.Type) func(unsafe.Pointer) bool {
	type zeroer interface{ IsZero() bool }
	switch {
	case t == reflect.TypeFor[metav1.Time]():
		return func(p unsafe.Pointer) bool { return (*metav1.Time)(p).IsZero() }
	case reflect.PointerTo(t).Implements(reflect.TypeFor[zeroer]()):
		return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Interface().(zeroer).IsZero() }
	}
	switch t.Kind() {
	case reflect.Bool:
		return func(p unsafe.Pointer) bool { return !*(*bool)(p) }
	case reflect.Int32:
		return func(p unsafe.Pointer) bool { return *(*int32)(p) == 0 }
	case reflect.Int64:
		return func(p unsafe.Pointer) bool { return *(*int64)(p) == 0 }
	}
	return func(p unsafe.Pointer) bool { return reflect.NewAt(t, p).Elem().IsZero() }
}

// The functions below compare as JSON shows it: what is left out on one side
// only makes the difference.

// same tells whether two values are equal; either may be nil or null.
func (s *plans) same(p *plan, a, b unsafe.Pointer) bool {
	a, b = p.follow(a), p.follow(b)
	if a == b {
		return true
	}
	if a == nil || b == nil || a == null || b == null {
		return false
	}
	return p.equal(a, b)
}

func (s *plans) sameFields(p *plan, a, b unsafe.Pointer) bool {
	for _, f := range p.fields {
		x, y := f.at(a), f.at(b)
		if x == nil && y == nil {
			continue
		}
		if !s.same(s.of(f), x, y) {
			return false
		}
	}
	return true
}

func (s *plans) sameList(p *plan, a, b unsafe.Pointer) bool {
	x, y := (*header)(a), (*header)(b)
	if x.len != y.len {
		return false
	}
	if x.data == y.data {
		return true
	}
	size := p.size()
	for i := range uintptr(x.len) {
		if !s.same(p.elem, unsafe.Add(x.data, i*size), unsafe.Add(y.data, i*size)) {
			return false
		}
	}
	return true
}

func sameStrings(a, b unsafe.Pointer) bool {
	x, y := *(*map[string]string)(a), *(*map[string]string)(b)
	if len(x) != len(y) {
		return false
	}
	for k, v := range x {
		if w, ok := y[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func (s *plans) sameMap(p *plan, a, b unsafe.Pointer) bool {
	x, y := reflect.NewAt(p.typ, a).Elem(), reflect.NewAt(p.typ, b).Elem()
	if x.Len() != y.Len() {
		return false
	}
	if x.Len() == 0 {
		return true
	}
	v, w := newCell(p), newCell(p)
	for it := x.MapRange(); it.Next(); {
		k := it.Key()
		e := y.MapIndex(k)
		if !e.IsValid() {
			return false
		}
		v.Set(it.Value())
		w.Set(e)
		if !s.same(p.elem, v.Addr().UnsafePointer(), w.Addr().UnsafePointer()) {
			return false
		}
	}
	return true
}

// newCell returns a place for a value of a map, which has no address itself.
func newCell(p *plan) reflect.Value { return reflect.New(p.typ.Elem()).Elem() }

// size is that of a list's items.
func (p *plan) size() uintptr { return p.typ.Elem().Size() }
