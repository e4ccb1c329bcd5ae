package ownership

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/yaml"

	"clipper/internal/scheme"
	"clipper/internal/scheme/schemetest"
)

// someFields are sets as servers and clients write them, and as nobody should.
var someFields = []string{
	`{}`, `{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:replicas":{}}}`,
	`{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}},"k:{\"port\":443}":{}}}}`,
	`{"f:metadata":{"f:finalizers":{"v:\"a/b\"":{},"v:\"c\"":{}}}}`, `{"f:a":{"i:0":{},"i:10":{},"i:9":{}}}`,
	`{"f:spec":{"f:ports":{"k:{\"protocol\":\"TCP\",\"port\":80}":{}}}}`, `{"f:é\u003c\/":{},"f:z":{},"f:b":{}}`, `{"x:y":{},"f:a":{}}`, `{"k:[]":{}}`,
	`{".":{}}`, `{"f:a":{".":{"f:b":{}}}}`, `{"f:a":{},"f:a":{"f:b":{}}}`, `{"f:a":{}`, `{"f:a":1}`, `[]`, ``, `null`, ` { "f:a" : { } } `,
}

// Sets are read as the library reads what it wrote, and worked with as it does.
func FuzzFields(f *testing.F) {
	for i, a := range someFields {
		f.Add([]byte(a), []byte(someFields[(i+1)%len(someFields)]))
	}
	// The order is the library's too where a real kind's fields are concerned
	// (TestCompareAsUpstream); here, where anything may be one, it is any.
	same := func(t *testing.T, what string, got *set, want *fieldpath.Set) {
		t.Helper()
		read := &fieldpath.Set{}
		if err := read.FromJSON(bytes.NewReader(got.appendJSON(nil))); err != nil || !read.Equals(want) || got.count() != want.Size() {
			t.Errorf("%s: %d in %s, %v, want %d in %s", what, got.count(), got.appendJSON(nil), err, want.Size(), fieldsV1(t, want))
		}
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var (
			mine   [2]set
			theirs [2]*fieldpath.Set
		)
		for i, raw := range [][]byte{a, b} {
			said := &fieldpath.Set{}
			if err := said.FromJSON(bytes.NewReader(raw)); err != nil {
				return
			}
			text := []byte(fieldsV1(t, said))
			theirs[i] = &fieldpath.Set{} // what is no UTF-8 is told apart no more
			if err := theirs[i].FromJSON(bytes.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			if err := mine[i].parse(text); err != nil {
				t.Fatalf("%s, as the library writes %q: %v", text, raw, err)
			}
			same(t, "read", &mine[i], theirs[i])
		}
		n, err := mine[0].common([]byte(fieldsV1(t, theirs[1])))
		if want := theirs[0].Intersection(theirs[1]).Size(); err != nil || n != want {
			t.Errorf("%s and %s have %d in common (%v), want %d", fieldsV1(t, theirs[0]), fieldsV1(t, theirs[1]), n, err, want)
		}
		for name, op := range map[string]struct {
			mine   func(a, b *set)
			theirs func(a, b *fieldpath.Set) *fieldpath.Set
		}{
			"union":    {(*set).union, (*fieldpath.Set).Union},
			"subtract": {(*set).subtract, (*fieldpath.Set).Difference},
		} {
			var x set
			x.union(&mine[0])
			op.mine(&x, &mine[1])
			same(t, name, &x, op.theirs(theirs[0], theirs[1]))
		}
	})
}

// theirManager is the library's manager of a path, with client-go's schema.
func theirManager(f testing.TB, tr *Tracker, r *scheme.Resource, subresource string) *managedfields.FieldManager {
	var reset map[fieldpath.APIVersion]fieldpath.Filter
	if filter := tr.scope(r, subresource).filter; filter != nil {
		reset = map[fieldpath.APIVersion]fieldpath.Filter{fieldpath.APIVersion(r.APIVersion()): filter}
	}
	k := kindOf{tr.table, r}
	m, err := managedfields.NewDefaultFieldManager(upstream(), k, k, k, r.GroupVersionKind(), r.GroupVersionKind().GroupVersion(), subresource, reset)
	if err != nil {
		f.Fatal(err)
	}
	return m
}

// What a client claims of ownership in what it writes leaves the entries that
// the library's manager leaves.
func FuzzClaims(f *testing.F) {
	for i, a := range someFields {
		f.Add([]byte(a), []byte(someFields[(i+3)%len(someFields)]), "a", "b", uint16(i*2741), uint64(i))
	}
	table := scheme.New()
	tr := New(table)
	r := table.ByPath("apps", "v1", "deployments")
	paths := []string{"", "status"}
	managers := map[string]*managedfields.FieldManager{}
	for _, sub := range paths {
		managers[sub] = theirManager(f, tr, r, sub)
	}
	f.Fuzz(func(t *testing.T, a, b []byte, first, second string, bits uint16, seed uint64) {
		if !utf8.ValidString(first) || !utf8.ValidString(second) {
			return // the library, which goes by JSON, keeps no such name
		}
		pick := func(from ...string) string {
			s := from[bits&3]
			bits >>= 2
			return s
		}
		var claims []metav1.ManagedFieldsEntry
		for i, raw := range [][]byte{a, b} {
			e := metav1.ManagedFieldsEntry{
				Manager: []string{first, second}[i], Operation: metav1.ManagedFieldsOperationType(pick("Update", "Apply", "Update", "x")),
				APIVersion: pick("apps/v1", "apps/v1", "v1", ""), Subresource: pick("", "status", "", "scale"), FieldsType: "FieldsV1",
				FieldsV1: &metav1.FieldsV1{Raw: raw}, Time: &noon,
			}
			claims = append(claims, e)
		}
		live, next := pair(schemetest.New(seed), r)
		for _, o := range []runtime.Object{live, next} {
			if _, err := upstream().ObjectToTyped(o, typed.AllowDuplicates); err != nil {
				return
			}
		}
		// Every other write is of an object that is tracked already.
		if seed&1 == 0 {
			if err := tr.Update(Write{Resource: r, Manager: "before", Time: noon}, nil, live); err != nil {
				t.Fatal(err)
			}
		}
		live.(metav1.Object).SetUID("u")
		next.(metav1.Object).SetManagedFields(claims)
		sub := paths[seed>>1&1]
		out, err := managers[sub].Update(live.DeepCopyObject(), next.DeepCopyObject(), "m")
		if err != nil {
			return
		}
		before := text(live)
		if err := tr.Update(Write{Resource: r, Subresource: sub, Manager: "m", Time: noon}, live, next); err != nil {
			t.Fatal(err)
		}
		if got, want := summary(next.(metav1.Object).GetManagedFields()), summary(out.(metav1.Object).GetManagedFields()); got != want {
			t.Errorf("got  %s\nwant %s\nof   %+v", got, want, claims)
		}
		if after := text(live); after != before {
			t.Errorf("the live object was changed: %s", after)
		}
	})
}

// Whatever is applied to whatever: it is merged as the library merges it with
// client-go's schema, changes nothing of what it is applied to, and nothing at
// all when it is applied again.
func FuzzApply(f *testing.F) {
	table := scheme.New()
	tr := New(table)
	var rows []*scheme.Resource
	for _, r := range table.Resources() {
		if _, err := upstream().ObjectToTyped(r.New()); err != nil || !r.IsStored() || r.FromStored != nil {
			continue
		}
		rows = append(rows, r)
	}
	theirs := map[path]*managedfields.FieldManager{}
	for i, r := range rows {
		for _, sub := range []string{"", "status"} {
			if sub == "" || r.Subresource(sub) != nil {
				theirs[path{r, sub}] = theirManager(f, tr, r, sub)
			}
		}
		for n := range 2 {
			seed := uint64(i*2 + n)
			_, body := pair(schemetest.New(seed), r)
			body.(metav1.Object).SetUID("")
			config, err := scheme.EncodeJSON(nil, body)
			if err != nil {
				f.Fatal(err)
			}
			if n == 1 {
				if config, err = yaml.JSONToYAML(config); err != nil {
					f.Fatal(err)
				}
			}
			f.Add(config, byte(i), seed, n == 0)
		}
	}
	f.Add([]byte(web), byte(0), uint64(1), true)
	f.Fuzz(func(t *testing.T, config []byte, kind byte, seed uint64, force bool) {
		r := rows[int(kind)%len(rows)]
		// What it is applied to: nothing, or an object that one manager applied
		// and another changed.
		live := r.New()
		sub := ""
		if seed%4 > 0 {
			a, b := pair(schemetest.New(seed), r)
			if _, err := upstream().ObjectToTyped(b, typed.AllowDuplicates); err != nil {
				return
			}
			first, err := scheme.EncodeJSON(nil, a)
			if err != nil {
				t.Fatal(err)
			}
			live = b
			if applied, _, err := tr.Apply(Write{Resource: r, Manager: "a", Time: noon}, r.New(), first, false, scheme.Ignore); err == nil {
				if err := tr.Update(Write{Resource: r, Manager: "b", Time: noon}, applied, live); err != nil {
					t.Fatal(err)
				}
			}
			live.(metav1.Object).SetUID("u")
			if r.Subresource("status") != nil && seed%4 == 3 {
				sub = "status"
			}
		}
		w := Write{Resource: r, Subresource: sub, Manager: "a", Time: at(1)}
		before := text(live)
		got, _, err := tr.Apply(w, live, config, force, scheme.Ignore)
		if after := text(live); after != before {
			t.Fatalf("the live object was changed:\nfrom %s\nto   %s", before, after)
		}
		if status := apierrors.APIStatus(nil); err != nil && !errors.As(err, &status) {
			t.Fatalf("%T is no status: %v", err, err)
		}
		if scheme.CheckConfig(live, config) != nil {
			if err == nil {
				t.Fatalf("applied %s", config)
			}
			return
		}
		want, upstreams := applyTheirs(theirs[path{r, sub}], live, config, force)
		if (err == nil) != (upstreams == nil) && !errors.Is(upstreams, errUnread) {
			t.Fatalf("error %v, want %v\napplied %s\nto      %s", err, upstreams, config, before)
		}
		if err != nil {
			if apierrors.IsConflict(upstreams) && err.Error() != upstreams.Error() {
				t.Errorf("error %v, want %v", err, upstreams)
			}
			return
		}
		if got, want := summary(got.(metav1.Object).GetManagedFields()), summary(want.(metav1.Object).GetManagedFields()); got != want {
			t.Errorf("entries:\ngot  %s\nwant %s\napplied %s\nto      %s", got, want, config, before)
		}
		if got, want := untracked(r, got), untracked(r, want); got != want {
			t.Errorf("objects:\ngot  %s\nwant %s\napplied %s\nto      %s", got, want, config, before)
		}
		again, _, err := tr.Apply(Write{Resource: r, Subresource: sub, Manager: "a", Time: at(2)}, got, config, force, scheme.Ignore)
		if err != nil {
			t.Fatalf("applied again: %v\napplied %s\nto      %s", err, config, text(got))
		}
		if was, is := got.(metav1.Object).GetManagedFields(), again.(metav1.Object).GetManagedFields(); untracked(r, got) != untracked(r, again) || !SameButTime(was, is) {
			t.Errorf("applied again:\nwas %s\nis  %s\napplied %s", text(got), text(again), config)
		}
	})
}

// errUnread is the error of bodies that no manager gets to see.
var errUnread = errors.New("not read")

// applyTheirs applies a configuration with the library's manager.
func applyTheirs(m *managedfields.FieldManager, live runtime.Object, config []byte, force bool) (runtime.Object, error) {
	applied := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(config, &applied.Object); err != nil || applied.Object == nil {
		return nil, errUnread
	}
	return m.Apply(live.DeepCopyObject(), applied, "a", force)
}

// untracked is an object without its entries.
func untracked(r *scheme.Resource, o runtime.Object) string {
	o = o.DeepCopyObject()
	o.(metav1.Object).SetManagedFields(nil)
	o.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	return text(o)
}

// Whoever applies a Scale owns the object's replicas, or is told who does.
func FuzzApplyScale(f *testing.F) {
	for _, s := range []string{
		`{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"web"},"spec":{"replicas":3}}`,
		"apiVersion: autoscaling/v1\nkind: Scale\nspec: {replicas: 2}", "apiVersion: autoscaling/v1\nkind: Scale\nspec: {replicas: x}",
		"apiVersion: apps/v1\nkind: Deployment", "kind: Scale", "[]", `{"apiVersion":"autoscaling/v1","kind":"Scale","status":{"replicas":9,"selector":"a"}}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	table := scheme.New()
	tr := New(table)
	r := table.ByPath("apps", "v1", "deployments")
	created, _, err := tr.Apply(Write{Resource: r, Manager: "alice", Time: noon}, r.New(), []byte(web), false, scheme.Strict)
	if err != nil {
		f.Fatal(err)
	}
	scaleOf := func(replicas int32) *autoscalingv1.Scale {
		s := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
		s.SetGroupVersionKind(scaleKind)
		return s
	}
	f.Fuzz(func(t *testing.T, config []byte, force bool) {
		d := created.DeepCopyObject().(*appsv1.Deployment)
		w := Write{Resource: r, Subresource: "scale", Manager: "bob", Time: at(1)}
		s, entries, _, err := tr.ApplyScale(w, d, scaleOf(*d.Spec.Replicas), config, force, scheme.Ignore)
		if !reflect.DeepEqual(d, created) {
			t.Fatalf("the live object was changed: %s", text(d))
		}
		if err != nil {
			if status := apierrors.APIStatus(nil); !errors.As(err, &status) {
				t.Errorf("%T is no status: %v", err, err)
			}
			return
		}
		owner := ""
		for _, e := range entries {
			if strings.Contains(string(e.FieldsV1.Raw), `"f:replicas":{}`) {
				owner += e.Manager + " "
			}
		}
		changed := s.Spec.Replicas != *d.Spec.Replicas
		if changed && (!force || owner != "bob ") {
			t.Errorf("%d replicas, forced %v, belong to %s", s.Spec.Replicas, force, owner)
		}
		*d.Spec.Replicas = s.Spec.Replicas
		d.ManagedFields = entries
		w.Time = at(2)
		twice, after, _, err := tr.ApplyScale(w, d, scaleOf(s.Spec.Replicas), config, force, scheme.Ignore)
		if err != nil || twice.Spec.Replicas != s.Spec.Replicas || !SameButTime(entries, after) {
			j, _ := json.Marshal(after)
			t.Errorf("applied again: %v %+v %s", err, twice, fmt.Sprint(string(j)))
		}
	})
}
