package ownership

import (
	"fmt"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"clipper/internal/scheme"
	"clipper/internal/scheme/schemetest"
)

// upstream is the merge library with client-go's schema of all kinds: what the
// tracker is to agree with.
var upstream = sync.OnceValue(func() managedfields.TypeConverter {
	return applyconfigurations.NewTypeConverter(clientscheme.Scheme)
})

func pair(f schemetest.Filler, r *scheme.Resource) (a, b runtime.Object) {
	return f.Pair(r.GroupVersionKind(), r.New)
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
				a, b := pair(schemetest.New(rapid.Uint64().Draw(rt, "seed")), r)
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
