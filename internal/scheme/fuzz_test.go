package scheme

import (
	"net/url"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// No body, whatever it holds, may end in a panic; what decodes, encodes.
func FuzzDecode(f *testing.F) {
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

// No patch may end in a panic, nor change what it is applied to.
func FuzzPatch(f *testing.F) {
	table := New()
	kinds := []types.PatchType{types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType}
	for _, p := range []string{
		`[{"op":"add","path":"/metadata/labels/a","value":"b"},{"op":"copy","from":"/spec","path":"/status"},{"op":"test","path":"","value":{}}]`,
		`[{"op":"move","from":"/spec/containers/0","path":"/spec/containers/-"},{"op":"remove","path":"/spec/containers/0"}]`,
		`{"metadata":{"labels":{"app":null,"x":"y"}},"spec":{"containers":null}}`,
		`{"spec":{"containers":[{"name":"web","image":"i"},{"$patch":"delete","name":"x"}],"$setElementOrder/containers":[{"name":"web"}],"$retainKeys":["containers"]}}`,
		`{"$patch":"replace","metadata":{"finalizers":["a"],"$deleteFromPrimitiveList/finalizers":["b"]}}`,
		`{"spec":{"tolerations":[{"$patch":"merge"}],"containers":[{"name":"web","ports":[{"containerPort":"x"}]}]}}`,
		`{"spec":{"containers":[{"name":"web","resources":{"limits":{"cpu":"1e9"}}}]}}`,
	} {
		for k := range kinds {
			f.Add([]byte(p), byte(k))
		}
	}
	pod := plainPod()
	before, err := EncodeJSON(nil, pod)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, kind byte) {
		for _, v := range []Validation{Ignore, Warn, Strict} {
			obj, _, err := table.PatchKind(podKind, pod, kinds[int(kind)%len(kinds)], body, v)
			if err == nil {
				if got := obj.GetObjectKind().GroupVersionKind(); got != podKind {
					t.Fatalf("made a %v of it", got)
				}
				if _, err := EncodeProtobuf(nil, obj); err != nil {
					t.Fatal(err)
				}
			}
			if after, err := EncodeJSON(nil, pod); err != nil || string(after) != string(before) {
				t.Fatalf("the object was changed: %s %v", after, err)
			}
		}
	})
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
