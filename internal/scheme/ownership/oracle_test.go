package ownership

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"clipper/internal/scheme"
)

// upstream is the merge library with client-go's schema of all kinds: what the
// tracker is to agree with.
var upstream = sync.OnceValue(func() managedfields.TypeConverter {
	return applyconfigurations.NewTypeConverter(clientscheme.Scheme)
})

// filler makes random objects; few names, so that lists and maps meet.
type filler struct{ *rand.Rand }

func (f filler) fill(v reflect.Value, depth int) {
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
			// Where an empty list is left out, the library tells it from none
			// within what is owned as a whole; nobody else could.
			if e := v.Field(i); (e.Kind() == reflect.Slice || e.Kind() == reflect.Map) && e.Len() == 0 &&
				strings.Contains(v.Type().Field(i).Tag.Get("json"), "omitempty") {
				e.SetZero()
			}
		}
	}
}

// change fills some parts of an object anew.
func (f filler) change(v reflect.Value, depth int) {
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

// pair returns two objects of a row, the second a change of the first or
// altogether another.
func (f filler) pair(r *scheme.Resource) (a, b runtime.Object) {
	a = r.New()
	if f.IntN(4) > 0 {
		f.fill(reflect.ValueOf(a).Elem(), 0)
	}
	b = a.DeepCopyObject()
	if f.IntN(3) > 0 {
		f.change(reflect.ValueOf(b).Elem(), 0)
	} else {
		b = r.New()
		f.fill(reflect.ValueOf(b).Elem(), 0)
	}
	for _, o := range []runtime.Object{a, b} {
		o.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	}
	return a, b
}

func fieldsV1(t interface{ Fatal(...any) }, s *fieldpath.Set) string {
	j, err := s.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(j)
}

func tracked(t *testing.T, table *scheme.Table) (rows []*scheme.Resource) {
	for _, r := range table.Resources() {
		if !r.IsStored() {
			continue
		}
		if _, err := upstream().ObjectToTyped(r.New()); err != nil {
			t.Logf("%s is not among client-go's kinds: %v", r.GroupVersionKind(), err)
			continue
		}
		rows = append(rows, r)
	}
	return rows
}

// What a walk over two Go values finds is what the library finds.
func TestCompareAsUpstream(t *testing.T) {
	table := scheme.New()
	tr := New(table)
	for _, r := range tracked(t, table) {
		t.Run(r.Group+"."+r.Version+"."+r.Kind, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				f := filler{rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))}
				a, b := f.pair(r)
				x, err := upstream().ObjectToTyped(a, typed.AllowDuplicates)
				if err != nil {
					rt.Skip(err) // an item without its keys
				}
				y, err := upstream().ObjectToTyped(b, typed.AllowDuplicates)
				if err != nil {
					rt.Skip(err)
				}
				want, err := x.Compare(y)
				if err != nil {
					rt.Skip(err)
				}
				got := tr.plans.compare(tr.kind(r).plan, pointer(a), pointer(b), nil)
				for name, pair := range map[string][2]string{
					"removed":  {fieldsV1(rt, want.Removed), string(got.removed.appendJSON(nil))},
					"modified": {fieldsV1(rt, want.Modified), string(got.modified.appendJSON(nil))},
					"added":    {fieldsV1(rt, want.Added), string(got.added.appendJSON(nil))},
				} {
					if pair[0] != pair[1] {
						rt.Fatalf("%s:\nwant %s\ngot  %s\nfrom %s\nto   %s", name, pair[0], pair[1], text(a), text(b))
					}
				}
			})
		})
	}
}

func text(o runtime.Object) string {
	j, err := scheme.EncodeJSON(nil, o)
	return fmt.Sprint(string(j), err)
}
