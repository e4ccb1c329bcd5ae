package scheme

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func patchedPod() *corev1.Pod {
	p := &corev1.Pod{}
	setType(p, "v1", "Pod")
	p.Name, p.Labels = "p", map[string]string{"a": "1"}
	p.Finalizers = []string{"a/a", "b/b"}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "one"}, {Name: "d", Image: "two"}}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	return p
}

func TestPatch(t *testing.T) {
	table := New()
	r := table.ByPath("", "v1", "pods")
	tests := []struct {
		name     string
		pt       types.PatchType
		body     string
		v        Validation
		want     func(*corev1.Pod)
		warnings []string
		err      string
	}{
		{name: "merge", pt: types.MergePatchType, body: `{"metadata":{"labels":{"a":null,"b":"2"}}}`,
			want: func(p *corev1.Pod) { p.Labels = map[string]string{"b": "2"} }},
		{name: "merge replaces lists", pt: types.MergePatchType, body: `{"spec":{"containers":[{"name":"d"}]}}`,
			want: func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{{Name: "d"}} }},
		{name: "strategic", pt: types.StrategicMergePatchType, body: `{"spec":{"containers":[{"name":"d","image":"three"}]}}`,
			want: func(p *corev1.Pod) { p.Spec.Containers[1].Image = "three" }},
		{name: "strategic delete", pt: types.StrategicMergePatchType, body: `{"spec":{"containers":[{"name":"c","$patch":"delete"}]}}`,
			want: func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[1:] }},
		{name: "json", pt: types.JSONPatchType, body: `[{"op":"replace","path":"/spec/containers/0/image","value":"x"},{"op":"test","path":"/metadata/name","value":"p"}]`,
			want: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "x" }},
		{name: "json test fails", pt: types.JSONPatchType, body: `[{"op":"test","path":"/metadata/name","value":"q"}]`,
			err: "the server rejected our request due to an error in our request"},
		{name: "json malformed", pt: types.JSONPatchType, v: Warn, body: `{`,
			err: "error decoding patch: unexpected end of JSON input"},
		{name: "too many", pt: types.JSONPatchType, body: "[" + strings.Repeat(`{"op":"remove","path":"/a"},`, 10000) + `{"op":"remove","path":"/a"}]`,
			err: "The allowed maximum operations in a JSON patch is 10000, got 10001"},
		{name: "merge unknown strict", pt: types.MergePatchType, v: Strict, body: `{"spec":{"foo":1}}`,
			err: `unknown field "spec.foo"`},
		{name: "merge unknown warn", pt: types.MergePatchType, v: Warn, body: `{"spec":{"foo":1,"nodeName":"a","nodeName":"b"}}`,
			want:     func(p *corev1.Pod) { p.Spec.NodeName = "b" },
			warnings: []string{`duplicate field "spec.nodeName"`, `unknown field "spec.foo"`}},
		{name: "strategic unknown warn", pt: types.StrategicMergePatchType, v: Warn, body: `{"spec":{"foo":1}}`,
			want: func(p *corev1.Pod) {}, warnings: []string{`unknown field "spec.foo"`}},
		{name: "strategic unknown strict", pt: types.StrategicMergePatchType, v: Strict, body: `{"spec":{"foo":1}}`,
			err: ` "" is invalid: patch: Invalid value: "map[spec:map[foo:1]]": strict decoding error: unknown field "spec.foo"`},
		{name: "wrong type", pt: types.MergePatchType, body: `{"spec":{"containers":3}}`,
			err: "json: cannot unmarshal number into Go struct field PodSpec.spec.containers of type []v1.Container"},
		{name: "strategic not an object", pt: types.StrategicMergePatchType, body: `[]`,
			err: "json: cannot unmarshal array into Go value of type map[string]interface {}"},
		{name: "strategic replaces a list", pt: types.StrategicMergePatchType, body: `{"spec":{"containers":[{"name":"e"},{"$patch":"replace"}]}}`,
			want: func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{{Name: "e"}} }},
		{name: "strategic replaces a map", pt: types.StrategicMergePatchType, body: `{"metadata":{"labels":{"$patch":"replace","b":"2"}}}`,
			want: func(p *corev1.Pod) { p.Labels = map[string]string{"b": "2"} }},
		{name: "strategic deletes a map", pt: types.StrategicMergePatchType, body: `{"metadata":{"labels":{"$patch":"delete"}}}`,
			want: func(p *corev1.Pod) { p.Labels = map[string]string{} }},
		{name: "strategic merge, the usual, is not said of a map", pt: types.StrategicMergePatchType, body: `{"metadata":{"labels":{"$patch":"merge","b":"2"}}}`,
			err: "unknown patch type: merge in map: "},
		{name: "strategic unknown directive", pt: types.StrategicMergePatchType, body: `{"metadata":{"labels":{"$patch":"destroy"}}}`,
			err: "unknown patch type: destroy in map: "},
		{name: "strategic order", pt: types.StrategicMergePatchType,
			body: `{"spec":{"$setElementOrder/containers":[{"name":"d"},{"name":"x"},{"name":"c"}],"containers":[{"name":"x","image":"new"}]}}`,
			want: func(p *corev1.Pod) {
				p.Spec.Containers = []corev1.Container{p.Spec.Containers[1], {Name: "x", Image: "new"}, p.Spec.Containers[0]}
			}},
		{name: "strategic order that misses one", pt: types.StrategicMergePatchType,
			body: `{"spec":{"$setElementOrder/containers":[{"name":"d"}],"containers":[{"name":"x"}]}}`,
			err:  "The order in patch list:"},
		{name: "strategic deletes from a list of texts", pt: types.StrategicMergePatchType,
			body: `{"metadata":{"$deleteFromPrimitiveList/finalizers":["a/a"],"finalizers":["c/c"]}}`,
			want: func(p *corev1.Pod) { p.Finalizers = []string{"c/c", "b/b"} }},
		{name: "strategic retains keys", pt: types.StrategicMergePatchType,
			body: `{"spec":{"volumes":[{"name":"v","$retainKeys":["name","configMap"],"configMap":{"name":"m"}}]}}`,
			want: func(p *corev1.Pod) {
				p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "m"}}}
			}},
		{name: "strategic item without its key", pt: types.StrategicMergePatchType, body: `{"spec":{"containers":[{"image":"x"}]}}`,
			err: "does not contain declared merge key: name"},
		{name: "strategic null takes a field away", pt: types.StrategicMergePatchType, body: `{"spec":{"volumes":[{"name":"v","emptyDir":null}]}}`,
			want: func(p *corev1.Pod) { p.Spec.Volumes[0].EmptyDir = nil }},
		{name: "json add, copy, move, remove", pt: types.JSONPatchType,
			body: `[{"op":"add","path":"/spec/containers/-","value":{"name":"e"}},{"op":"copy","from":"/metadata/name","path":"/metadata/labels/b"},` +
				`{"op":"move","from":"/metadata/labels/a","path":"/metadata/labels/x~1y"},{"op":"remove","path":"/spec/containers/0"}]`,
			want: func(p *corev1.Pod) {
				p.Spec.Containers = []corev1.Container{p.Spec.Containers[1], {Name: "e"}}
				p.Labels = map[string]string{"b": "p", "x/y": "1"}
			}},
		{name: "json nothing to remove", pt: types.JSONPatchType, body: `[{"op":"remove","path":"/spec/nope"}]`,
			err: "the server rejected our request due to an error in our request"},
		{name: "json unknown operation", pt: types.JSONPatchType, body: `[{"op":"grow","path":"/spec"}]`,
			err: "the server rejected our request due to an error in our request"},
		{name: "json unknown part of an operation", pt: types.JSONPatchType, v: Strict,
			body: `[{"op":"test","path":"/metadata/name","value":"p","op":"test"}]`,
			err:  `json patch duplicate field "[0].op"`},
		{name: "merge null", pt: types.MergePatchType, body: `null`, err: "Invalid JSON Patch"},
		{name: "merge duplicate strict", pt: types.MergePatchType, v: Strict, body: `{"metadata":{"labels":{"b":"1"},"labels":{"c":"1"}}}`,
			err: `strict decoding error: duplicate field "metadata.labels"`},
		{name: "strategic duplicate strict", pt: types.StrategicMergePatchType, v: Strict, body: `{"metadata":{"labels":{"b":"1"},"labels":{"c":"1"}}}`,
			err: `strict decoding error: duplicate field "metadata.labels"`},
		{name: "other kind", pt: types.MergePatchType, body: `{"kind":"Service"}`,
			err: `converting (v1.Service) to (core.Pod): unknown conversion`},
		{name: "unknown type", pt: "x/y", body: `{}`, err: "the body of the request was in an unknown format"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			current := patchedPod()
			got, warnings, err := table.Patch(r, current, tt.pt, []byte(tt.body), tt.v)
			if d := cmp.Diff(patchedPod(), current); d != "" {
				t.Errorf("current was changed: %s", d)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error\n%v\nwant\n%s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := patchedPod()
			tt.want(want)
			if d := cmp.Diff(want, got.(*corev1.Pod)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.warnings, warnings); d != "" {
				t.Error(d)
			}
		})
	}
}

// Copies that double the document must end in an error, not in all memory.
func TestPatchGrowth(t *testing.T) {
	table := New()
	op := `{"op":"copy","from":"/l","path":"/l/-"},`
	body := `[{"op":"add","path":"/l","value":["x"]},` + strings.Repeat(op, 200) + strings.TrimSuffix(op, ",") + "]"
	_, _, err := table.Patch(table.ByPath("", "v1", "pods"), patchedPod(), types.JSONPatchType, []byte(body), Ignore)
	if err == nil {
		t.Error("no error")
	}
}

// No patch, however odd, may panic or change the current object.
func TestPatchOdd(t *testing.T) {
	table := New()
	r := table.ByPath("", "v1", "pods")
	word := rapid.SampledFrom([]string{
		"{", "}", "[", "]", ",", ":", "null", "1", "-1", `"$patch"`, `"delete"`, `"replace"`, `"merge"`, `"spec"`, `"containers"`,
		`"name"`, `"c"`, `"$deleteFromPrimitiveList/finalizers"`, `"$setElementOrder/containers"`, `"$retainKeys"`, `"metadata"`, `"finalizers"`,
		`"op"`, `"path"`, `"/spec/containers/0"`, `"/"`, `""`, `"copy"`, `"move"`, `"add"`, `"from"`, `"value"`, `{"op":"add","path":"/spec/containers/-1"}`,
		`{"spec":{"containers":[{"name":null}]}}`, `{"metadata":null}`, `{"spec":{"containers":[null]}}`, `{"name":"c"}`, `"test"`, "true",
	})
	rapid.Check(t, func(t *rapid.T) {
		var body string
		if rapid.Bool().Draw(t, "shaped") {
			body = drawJSON(t, word, 4)
		} else {
			body = strings.Join(rapid.SliceOfN(word, 0, 12).Draw(t, "words"), "")
		}
		pt := rapid.SampledFrom([]types.PatchType{types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType}).Draw(t, "type")
		current := patchedPod()
		_, _, _ = table.Patch(r, current, pt, []byte(body), Validation(rapid.IntRange(0, 2).Draw(t, "validation")))
		if d := cmp.Diff(patchedPod(), current); d != "" {
			t.Errorf("current was changed: %s", d)
		}
	})
}

// drawJSON draws a document of objects, lists and words.
func drawJSON(t *rapid.T, word *rapid.Generator[string], depth int) string {
	switch k := rapid.IntRange(0, 2).Draw(t, "shape"); {
	case depth == 0 || k == 0:
		return rapid.SampledFrom([]string{"null", "1", "true", `"c"`, `"replace"`, `"delete"`, `"merge"`, `"/spec/containers/0"`, `"/metadata/labels"`, `"copy"`, `"remove"`, "[]", "{}"}).Draw(t, "leaf")
	case k == 1:
		n := rapid.IntRange(0, 3).Draw(t, "n")
		items := make([]string, n)
		for i := range items {
			items[i] = drawJSON(t, word, depth-1)
		}
		return "[" + strings.Join(items, ",") + "]"
	default:
		n := rapid.IntRange(0, 3).Draw(t, "n")
		items := make([]string, n)
		for i := range items {
			key := rapid.SampledFrom([]string{"spec", "containers", "metadata", "name", "$patch", "$retainKeys", "$setElementOrder/containers",
				"$deleteFromPrimitiveList/finalizers", "finalizers", "labels", "op", "path", "from", "value", "volumes", "tolerations"}).Draw(t, "key")
			items[i] = `"` + key + `":` + drawJSON(t, word, depth-1)
		}
		return "{" + strings.Join(items, ",") + "}"
	}
}
