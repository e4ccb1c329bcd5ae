// Package schemetest makes random objects for tests.
package schemetest

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Filler makes random objects of few names, so that lists and maps meet. It
// leaves alone what an object says of its kind and of who manages its fields.
type Filler struct{ *rand.Rand }

// New returns a Filler; the same seed makes the same objects.
func New(seed uint64) Filler { return Filler{rand.New(rand.NewPCG(seed, 1))} }

// Pair returns two objects of a kind, of which empty returns one without
// anything: the second is a change of the first or altogether another.
func (f Filler) Pair(kind schema.GroupVersionKind, empty func() runtime.Object) (a, b runtime.Object) {
	a = empty()
	if f.IntN(4) > 0 {
		f.fill(reflect.ValueOf(a).Elem(), 0)
	}
	if f.IntN(3) > 0 {
		b = a.DeepCopyObject()
		f.change(reflect.ValueOf(b).Elem(), 0)
	} else {
		b = empty()
		f.fill(reflect.ValueOf(b).Elem(), 0)
	}
	for _, o := range []runtime.Object{a, b} {
		o.GetObjectKind().SetGroupVersionKind(kind)
	}
	return a, b
}

func (f Filler) fill(v reflect.Value, depth int) {
	switch p := v.Addr().Interface().(type) {
	case *metav1.Time:
		if f.IntN(3) > 0 {
			*p = metav1.NewTime(time.Unix(int64(f.IntN(3)+1), 0))
		}
		return
	case *metav1.MicroTime:
		if f.IntN(3) > 0 {
			*p = metav1.NewMicroTime(time.Unix(int64(f.IntN(3)+1), 0))
		}
		return
	case *resource.Quantity:
		*p = resource.MustParse([]string{"1", "1Gi", "2"}[f.IntN(3)])
		return
	case *intstr.IntOrString:
		*p = []intstr.IntOrString{intstr.FromInt32(1), intstr.FromString("x"), intstr.FromInt32(2)}[f.IntN(3)]
		return
	case *runtime.RawExtension:
		p.Raw = []byte([]string{`{"a":1}`, `{"b":[1]}`}[f.IntN(2)])
		return
	case *metav1.TypeMeta:
		return
	case *[]metav1.ManagedFieldsEntry:
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString([]string{"", "a", "b", "c"}[f.IntN(4)])
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(int64([]int{0, 1, 9, 80, 443}[f.IntN(5)]))
	case reflect.Float64:
		v.SetFloat(float64(f.IntN(3)))
	case reflect.Pointer:
		if f.IntN(3+depth) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		if n := f.IntN(4); n > 0 && f.IntN(2+depth) < 2 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				f.fill(v.Index(i), depth+1)
			}
		} else if f.IntN(5) == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
	case reflect.Map:
		if f.IntN(2) == 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range f.IntN(3) {
				k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				k.SetString([]string{"a", "b.c/d", "c_e"}[f.IntN(3)])
				f.fill(e, depth+1)
				v.SetMapIndex(k, e)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() || f.IntN(4) == 0 {
				continue
			}
			f.fill(v.Field(i), depth)
			// Where an empty list is left out, the merge library tells it from
			// none within what is owned as a whole; nobody else could.
			if e := v.Field(i); (e.Kind() == reflect.Slice || e.Kind() == reflect.Map) && e.Len() == 0 &&
				strings.Contains(v.Type().Field(i).Tag.Get("json"), "omitempty") {
				e.SetZero()
			}
		}
	}
}

// change fills some parts of an object anew.
func (f Filler) change(v reflect.Value, depth int) {
	if f.IntN(8) == 0 && depth > 0 {
		f.fill(v, depth)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			f.change(v.Elem(), depth+1)
		}
	case reflect.Slice:
		for i := range v.Len() {
			f.change(v.Index(i), depth+1)
		}
	case reflect.Struct:
		switch v.Addr().Interface().(type) {
		case *resource.Quantity, *intstr.IntOrString, *runtime.RawExtension, *metav1.Time, *metav1.MicroTime:
			f.fill(v, depth)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.change(v.Field(i), depth+1)
				if e := v.Field(i); (e.Kind() == reflect.Slice || e.Kind() == reflect.Map) && e.Len() == 0 {
					e.SetZero()
				}
			}
		}
	}
}
