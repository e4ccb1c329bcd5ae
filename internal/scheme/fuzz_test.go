package scheme

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	kjson "sigs.k8s.io/json"

	"clipper/internal/scheme/schemetest"
)

// No body, whatever it holds, may end in a panic; what decodes, encodes; and
// what is protobuf is what upstream's codec has for it.
func FuzzDecode(f *testing.F) {
	theirs := protobuf.NewSerializer(clientscheme.Scheme, clientscheme.Scheme)
	table := New()
	rows := table.Resources()
	for i, r := range rows {
		obj := r.New()
		if m, ok := obj.(metav1.Object); ok {
			m.SetName("n")
			m.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "o", UID: "u"}})
		}
		r.Default(obj)
		for _, mt := range []MediaType{JSON, YAML, Protobuf} {
			if b, err := Encode(nil, mt, obj); err == nil {
				f.Add(b, byte(mt), byte(i))
			}
		}
	}
	f.Add([]byte("k8s\x00\x0a\x00\x12\x00"), byte(Protobuf), byte(0))
	f.Add([]byte(`{"metadata":{"managedFields":[{"fieldsV1":{"f:a":{}}}]}}`), byte(JSON), byte(0))
	f.Add([]byte("- &a [*a]"), byte(YAML), byte(0))
	f.Add([]byte(limitedPod("1e99")), byte(Protobuf), byte(0))
	f.Add([]byte(nestedSchema(3)), byte(Protobuf), byte(0))
	f.Fuzz(func(t *testing.T, body []byte, m, kind byte) {
		mt := MediaType(m % 3)
		r := rows[int(kind)%len(rows)]
		for _, v := range []Validation{Ignore, Warn, Strict} {
			obj, _, err := table.Decode(body, mt, r.GroupVersionKind(), v)
			if err != nil {
				continue
			}
			if got := obj.GetObjectKind().GroupVersionKind(); got != r.GroupVersionKind() {
				t.Fatalf("decoded a %v", got)
			}
			if _, ok := obj.(message); ok {
				if _, err := EncodeProtobuf(nil, obj); err != nil {
					t.Fatal(err)
				}
			}
			if mt == Protobuf && clientscheme.Scheme.Recognizes(r.GroupVersionKind()) {
				kind := r.GroupVersionKind()
				want, _, err := theirs.Decode(body, &kind, nil)
				if err != nil {
					t.Fatalf("upstream refuses it: %v", err)
				}
				want.GetObjectKind().SetGroupVersionKind(kind)
				if !apiequality.Semantic.DeepEqual(obj, want) {
					t.Fatal(cmp.Diff(want, obj))
				}
			}
			r.Default(obj)
			if _, err := EncodeJSON(nil, obj); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = table.DecodeDeleteOptions(body, mt)
		_ = envelopeHead(body)
		if r.IsStored() {
			_, _ = r.DecodeStored(body, 1)
		}
	})
}

// rowsOf are the rows whose objects are patched: those that are stored.
func rowsOf(table *Table) (rows []*Resource) {
	for _, r := range table.Resources() {
		if r.IsStored() {
			rows = append(rows, r)
		}
	}
	return rows
}

var patchTypes = []types.PatchType{types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType}

// byLibrary applies a patch to the plain JSON of an object, and fills obj with
// what comes of it.
func byLibrary(current, obj runtime.Object, pt types.PatchType, body []byte) (err error) {
	doc, err := json.Marshal(current)
	if err != nil {
		return err
	}
	switch pt {
	case types.JSONPatchType:
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(body); err == nil {
			doc, err = p.Apply(doc)
		}
	case types.MergePatchType:
		var before, patch any
		if err = kjson.UnmarshalCaseSensitivePreserveInts(doc, &before); err != nil {
			return err
		}
		if err = kjson.UnmarshalCaseSensitivePreserveInts(body, &patch); err != nil {
			return err
		}
		if _, ok := patch.(map[string]any); !ok {
			return errors.New("no object")
		}
		doc, err = json.Marshal(mergeRFC7386(before, patch))
	case types.StrategicMergePatchType:
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%v", p)
			}
		}()
		var before, patch map[string]any
		if err = kjson.UnmarshalCaseSensitivePreserveInts(doc, &before); err != nil {
			return err
		}
		if err = kjson.UnmarshalCaseSensitivePreserveInts(body, &patch); err != nil {
			return err
		}
		var after map[string]any
		if after, err = strategicpatch.StrategicMergeMapPatch(before, patch, obj); err == nil {
			return runtime.DefaultUnstructuredConverter.FromUnstructured(after, obj)
		}
	}
	if err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(doc, obj)
}

// mergeRFC7386 is the MergePatch of the RFC's section 2.
func mergeRFC7386(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for name, v := range p {
		if v == nil {
			delete(t, name)
		} else {
			t[name] = mergeRFC7386(t[name], v)
		}
	}
	return t
}

// No patch may end in a panic, nor change what it is applied to; what comes of
// one is what the libraries, or the RFC, make of the plain JSON.
func FuzzPatch(f *testing.F) {
	boundPatches()
	table := New()
	rows := rowsOf(table)
	pods := slices.Index(rows, table.ByPath("", "v1", "pods"))
	for _, p := range []string{
		`[{"op":"add","path":"/metadata/labels/a","value":"b"},{"op":"copy","from":"/spec","path":"/status"},{"op":"test","path":"","value":{}}]`,
		`[{"op":"move","from":"/spec/containers/0","path":"/spec/containers/-"},{"op":"remove","path":"/spec/containers/0"}]`,
		`{"metadata":{"labels":{"app":null,"x":"y"}},"spec":{"containers":null}}`,
		`{"spec":{"containers":[{"name":"web","image":"i"},{"$patch":"delete","name":"x"}],"$setElementOrder/containers":[{"name":"web"}],"$retainKeys":["containers"]}}`,
		`{"$patch":"replace","metadata":{"finalizers":["a"],"$deleteFromPrimitiveList/finalizers":["b"]}}`,
		`{"spec":{"tolerations":[{"$patch":"merge"}],"containers":[{"name":"web","ports":[{"containerPort":"x"}]}]}}`,
		`{"spec":{"containers":[{"name":"web","resources":{"limits":{"cpu":"1e9"}}}]}}`,
	} {
		for k := range patchTypes {
			f.Add([]byte(p), byte(k), byte(pods), uint64(0))
		}
	}
	for i, r := range rows {
		a, b := schemetest.New(uint64(i)).Pair(r.GroupVersionKind(), r.New)
		for k, pt := range patchTypes {
			if p, err := between(a, b, pt); err == nil && (i+k)%3 == 0 {
				f.Add(p, byte(k), byte(i), uint64(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, patchType, row byte, seed uint64) {
		r, pt := rows[int(row)%len(rows)], patchTypes[int(patchType)%len(patchTypes)]
		current, _ := schemetest.New(seed).Pair(r.GroupVersionKind(), r.New)
		if int(row) == pods && seed == 0 {
			current = plainPod()
		}
		before, err := EncodeJSON(nil, current)
		if err != nil {
			t.Fatal(err)
		}
		want := r.New()
		// What no patch may cost is bounded before the libraries see it.
		bounded := len(body) < 1<<16 && checkDepth(body) == nil && CheckConfig(current, body) == nil
		if bounded {
			err = byLibrary(current, want, pt, body)
		}
		for _, v := range []Validation{Ignore, Warn, Strict} {
			obj, _, failed := table.PatchKind(r.GroupVersionKind(), current, pt, body, v)
			if after, err := EncodeJSON(nil, current); err != nil || string(after) != string(before) {
				t.Fatalf("the object was changed: %s %v", after, err)
			}
			if failed != nil {
				if v == Ignore && bounded && err == nil && !refusable(r, want) {
					t.Fatalf("%s %s\nof %s\nis refused: %v", pt, body, before, failed)
				}
				continue
			}
			if got := obj.GetObjectKind().GroupVersionKind(); got != r.GroupVersionKind() {
				t.Fatalf("made a %v of it", got)
			}
			if _, ok := obj.(message); ok {
				if _, err := EncodeProtobuf(nil, obj); err != nil {
					t.Fatal(err)
				}
			}
			if !bounded || v == Strict {
				continue
			}
			if err != nil {
				t.Fatalf("%s %s\nof %s\nis not refused: %v", pt, body, before, err)
			}
			want.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
			if !apiequality.Semantic.DeepEqual(obj, want) {
				t.Fatalf("%s %s\nof %s\n%s", pt, body, before, cmp.Diff(want, obj))
			}
		}
	})
}

// refusable tells whether a patch made what may not be: another kind, or values
// out of bounds.
func refusable(r *Resource, made runtime.Object) bool {
	got := made.GetObjectKind().GroupVersionKind()
	if got != r.GroupVersionKind() {
		return true
	}
	b, err := json.Marshal(made)
	return err != nil || checkDepth(b) != nil || checkQuantities(reflect.TypeOf(made), b) != nil
}

// between returns the patch that leads from one object to another.
func between(a, b runtime.Object, pt types.PatchType) ([]byte, error) {
	from, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	to, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	switch pt {
	case types.MergePatchType:
		return jsonpatch.CreateMergePatch(from, to)
	case types.StrategicMergePatchType:
		return strategicpatch.CreateTwoWayMergePatch(from, to, a)
	}
	var was, is map[string]any
	if err := errors.Join(json.Unmarshal(from, &was), json.Unmarshal(to, &is)); err != nil {
		return nil, err
	}
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value,omitempty"`
	}
	var ops []operation
	for name, v := range was {
		if _, ok := is[name]; !ok {
			ops = append(ops, operation{"test", "/" + name, v}, operation{"remove", "/" + name, nil})
		}
	}
	for name, v := range is {
		ops = append(ops, operation{"add", "/" + name, v})
	}
	slices.SortStableFunc(ops, func(a, b operation) int { return strings.Compare(a.Path, b.Path) })
	return json.Marshal(ops)
}

// No query may end in a panic.
func FuzzOptions(f *testing.F) {
	for _, q := range []string{
		"labelSelector=a%20in%20(b,c),!d&fieldSelector=metadata.name%3Dx&limit=5&continue=x&timeoutSeconds=9&watch=1&sendInitialEvents=true",
		"gracePeriodSeconds=1&propagationPolicy=Orphan&dryRun=All&preconditions=x&orphanDependents=maybe",
		"fieldManager=a&force=true&fieldValidation=Strict&includeObject=Object", "limit=99999999999999999999&%zz", "watch=&watch=no",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, _ := url.ParseQuery(query)
		_, _ = ParseListOptions(q)
		_, _ = ParseGetOptions(q)
		_, _ = ParseCreateOptions(q)
		_, _ = ParseUpdateOptions(q)
		_, _ = ParsePatchOptions(q)
		_, _ = ParseDeleteOptions(q)
		_, _ = ParseTableOptions(q)
		_, _ = ParseValidation(q.Get("fieldValidation"))
	})
}

// A quantity that passes can be calculated with, which the others never end to be.
func FuzzQuantity(f *testing.F) {
	for _, s := range []string{"1e99", "1e-99", "100m", "1.5Gi", "0.0000000000000000000001", "9223372036854775808", "1E", "-1e+00000012", " 1e100", "1e100 ", "1e1e9"} {
		f.Add(s)
	}
	one := resource.MustParse("1")
	f.Fuzz(func(t *testing.T, s string) {
		if checkQuantity(s) != nil {
			return
		}
		q, err := resource.ParseQuantity(s)
		if err != nil {
			return
		}
		_ = q.String()
		_ = q.Value()
		_ = q.Cmp(one)
		q.Add(one)
	})
}
