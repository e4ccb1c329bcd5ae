package scheme

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/randfill"
)

var findTestdata = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "testdata", "HEAD"), err
})

// testdata returns the folder of upstream's own encodings of every kind.
func testdata(t testing.TB) string {
	dir, err := findTestdata()
	if err != nil {
		t.Fatalf("find k8s.io/api: %v", err)
	}
	return dir
}

func TestUpstreamEncodings(t *testing.T) {
	dir, table := testdata(t), New()
	for _, r := range table.Resources() {
		if elsewhere(r) {
			continue
		}
		group := r.Group
		if group == "" {
			group = "core"
		}
		base := filepath.Join(dir, group+"."+r.Version+"."+r.Kind)
		t.Run(r.Kind+"."+group, func(t *testing.T) {
			var objs []runtime.Object
			for ext, mt := range map[string]MediaType{".json": JSON, ".yaml": YAML, ".pb": Protobuf} {
				b, err := os.ReadFile(base + ext)
				if err != nil {
					t.Fatal(err)
				}
				if mt == JSON {
					// Raw extensions keep their spaces.
					var c bytes.Buffer
					if err := json.Compact(&c, b); err != nil {
						t.Fatal(err)
					}
					b = c.Bytes()
				}
				obj, warnings, err := table.Decode(b, mt, r.GroupVersionKind(), Strict)
				if err != nil || len(warnings) > 0 {
					t.Fatalf("%s: %v %v", ext, warnings, err)
				}
				again, err := Encode(nil, mt, obj)
				if err != nil {
					t.Fatal(err)
				}
				if mt == Protobuf && !bytes.Equal(b, again) {
					t.Errorf("%s: encodes to other bytes than upstream's", ext)
				}
				back, _, err := table.Decode(again, mt, r.GroupVersionKind(), Strict)
				if err != nil {
					t.Fatal(err)
				}
				if !apiequality.Semantic.DeepEqual(obj, back) {
					t.Errorf("%s: round trip changes the object: %s", ext, cmp.Diff(obj, back))
				}
				objs = append(objs, obj)
			}
			for _, o := range objs[1:] {
				if !apiequality.Semantic.DeepEqual(objs[0], o) {
					t.Errorf("media types disagree: %s", cmp.Diff(objs[0], o))
				}
			}
		})
	}
}

func TestListsAndEvents(t *testing.T) {
	table := New()
	decoder := clientscheme.Codecs.UniversalDeserializer()
	dir := testdata(t)
	for _, name := range []string{"core.v1.Pod", "core.v1.ConfigMap", "apps.v1.Deployment"} {
		body, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		want, gvk, err := decoder.Decode(body, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		want.GetObjectKind().SetGroupVersionKind(*gvk)
		r := table.ByKind(*gvk)
		meta := &metav1.ListMeta{ResourceVersion: "42", Continue: "more"}
		for _, mt := range []MediaType{JSON, Protobuf} {
			b, err := Encode([]byte("before"), mt, want)
			if err != nil {
				t.Fatal(err)
			}
			b = bytes.TrimPrefix(b, []byte("before"))
			for _, n := range []int{0, 1, 3} {
				var buf bytes.Buffer
				items := slices.Repeat([][]byte{b}, n)
				write := r.WriteListJSON
				if mt == Protobuf {
					write = r.WriteListProtobuf
				}
				if err := write(&buf, meta, items); err != nil {
					t.Fatal(err)
				}
				list, listGVK, err := decoder.Decode(buf.Bytes(), nil, nil)
				if err != nil {
					t.Fatalf("%v list of %d: %v", mt, n, err)
				}
				if listGVK.Kind != r.Kind+"List" {
					t.Errorf("list is a %v", listGVK)
				}
				checkList(t, list, want, n)
			}
			if mt == Protobuf {
				checkProtobufEvent(t, AppendEventProtobuf(nil, watch.Modified, b), want)
			}
		}
	}
	if got, want := string(AppendEventJSON(nil, watch.Added, []byte(`{"a":1}`))), `{"type":"ADDED","object":{"a":1}}`+"\n"; got != want {
		t.Errorf("event %q, want %q", got, want)
	}
}

func checkList(t *testing.T, list, want runtime.Object, n int) {
	t.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(list)
	if err != nil {
		t.Fatal(err)
	}
	items, _ := m["items"].([]any)
	if len(items) != n {
		t.Fatalf("%d items, want %d", len(items), n)
	}
	one, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		t.Fatal(err)
	}
	delete(one, "kind")
	delete(one, "apiVersion")
	for _, item := range items {
		if !apiequality.Semantic.DeepEqual(item, any(one)) {
			t.Errorf("item differs: %s", cmp.Diff(one, item))
		}
	}
	if m["metadata"].(map[string]any)["continue"] != "more" {
		t.Errorf("metadata: %v", m["metadata"])
	}
}

func checkProtobufEvent(t *testing.T, frame []byte, want runtime.Object) {
	t.Helper()
	raw := protobuf.NewRawSerializer(clientscheme.Scheme, clientscheme.Scheme)
	d := streaming.NewDecoder(protobuf.LengthDelimitedFramer.NewFrameReader(io.NopCloser(bytes.NewReader(frame))), raw)
	var e metav1.WatchEvent
	if _, _, err := d.Decode(nil, &e); err != nil {
		t.Fatal(err)
	}
	if e.Type != "MODIFIED" {
		t.Errorf("type %q", e.Type)
	}
	got, gvk, err := clientscheme.Codecs.UniversalDeserializer().Decode(e.Object.Raw, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got.GetObjectKind().SetGroupVersionKind(*gvk)
	if !apiequality.Semantic.DeepEqual(got, want) {
		t.Errorf("object differs: %s", cmp.Diff(want, got))
	}
}

func TestDecodeErrors(t *testing.T) {
	table := New()
	pod := table.ByPath("", "v1", "pods").GroupVersionKind()
	tests := []struct {
		name, body, err string
		mt              MediaType
	}{
		{"unknown field", `{"kind":"Pod","apiVersion":"v1","spec":{"foo":1}}`,
			`Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo"`, JSON},
		{"duplicate field", `{"spec":{"nodeName":"a","nodeName":"b"}}`,
			`Pod in version "v1" cannot be handled as a Pod: strict decoding error: duplicate field "spec.nodeName"`, JSON},
		{"wrong type", `{"spec":{"containers":"x"}}`,
			`Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container`, JSON},
		{"empty", ``, `the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)`, JSON},
		{"cut off", `{"kind":`, `the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({"kind":)`, JSON},
		{"other kind", `{"kind":"Service","apiVersion":"v1"}`,
			`Service in version "v1" cannot be handled as a Pod: converting (v1.Service) to (core.Pod): unknown conversion`, JSON},
		{"other version", `{"kind":"Deployment","apiVersion":"apps/v1"}`,
			`the API version in the data (apps/v1) does not match the expected API version (v1)`, JSON},
		{"unknown kind", `{"kind":"Foo","apiVersion":"v1"}`,
			`Foo in version "v1" cannot be handled as a Pod: no kind "Foo" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111"`, JSON},
		{"yaml duplicate", "spec:\n  nodeName: a\n  nodeName: b\n",
			"Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: yaml: unmarshal errors:\n  line 3: key \"nodeName\" already set in map", YAML},
		{"no protobuf", `{}`, `the object provided is unrecognized (must be of type Pod): provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ({})`, Protobuf},
		{"nothing but protobuf's prefix", "k8s\x00", `the object provided is unrecognized (must be of type Pod): empty body (6b387300)`, Protobuf},
		{"null", `null`, ``, JSON},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := table.Decode([]byte(tt.body), tt.mt, pod, Strict)
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if err == nil || err.Error() != tt.err {
				t.Errorf("error\n%v\nwant\n%s", err, tt.err)
			}
		})
	}
	obj, warnings, err := table.Decode([]byte(`{"spec":{"foo":1,"nodeName":"a","nodeName":"b"}}`), JSON, pod, Warn)
	if err != nil || !slices.Equal(warnings, []string{`unknown field "spec.foo"`, `duplicate field "spec.nodeName"`}) {
		t.Errorf("warnings %q, error %v", warnings, err)
	}
	if p := obj.(*corev1.Pod); p.Kind != "Pod" || p.APIVersion != "v1" || p.Spec.NodeName != "b" {
		t.Errorf("decoded %+v", p)
	}
}

func TestYAMLBomb(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'm'; c++ {
		ref := "*" + string(c-1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat(ref+",", 8) + ref + "]\n"
	}
	table := New()
	_, _, err := table.Decode([]byte(bomb), YAML, table.ByPath("", "v1", "pods").GroupVersionKind(), Ignore)
	if err == nil || !strings.Contains(err.Error(), "excessive aliasing") {
		t.Errorf("error %v", err)
	}
	deep := strings.Repeat(`{"a":`, 20000)
	if _, _, err := table.Decode([]byte(deep), JSON, table.ByPath("", "v1", "pods").GroupVersionKind(), Ignore); err == nil {
		t.Error("depth is not bounded")
	}
}

func TestStored(t *testing.T) {
	r := New().ByPath("", "v1", "configmaps")
	cm := r.New().(*corev1.ConfigMap)
	cm.Name, cm.ResourceVersion, cm.Data = "a", "7", map[string]string{"k": "v"}
	b, err := EncodeStored(cm)
	if err != nil {
		t.Fatal(err)
	}
	if cm.ResourceVersion != "7" {
		t.Errorf("resourceVersion was not put back")
	}
	if bytes.Contains(b, []byte("7")) {
		t.Errorf("resourceVersion is stored: %q", b)
	}
	cm.ResourceVersion = "12"
	got, err := r.DecodeStored(b, 12)
	if err != nil || !cmp.Equal(got, runtime.Object(cm)) {
		t.Errorf("got %v, error %v", got, err)
	}
}

// elsewhere tells whether the row's type is of another module than k8s.io/api,
// which keeps no encodings of it.
func elsewhere(r *Resource) bool {
	return !strings.HasPrefix(reflect.TypeOf(r.New()).Elem().PkgPath(), "k8s.io/api/")
}

// Kinds without upstream's encodings come back from every media type as they were.
func TestRoundTripsElsewhere(t *testing.T) {
	table := New()
	for _, r := range table.Resources() {
		if !elsewhere(r) {
			continue
		}
		for seed := range int64(20) {
			want := r.New()
			randfill.NewWithSeed(seed).NilChance(.3).NumElements(1, 3).MaxDepth(9).Funcs(
				func(m *metav1.TypeMeta, c randfill.Continue) {
					m.APIVersion, m.Kind = r.APIVersion(), r.Kind
				},
				func(m *metav1.Time, c randfill.Continue) { *m = metav1.Unix(c.Int63n(1e9), 0) },
				func(j *apiextensionsv1.JSON, c randfill.Continue) { j.Raw = []byte(`{"a":[1]}`) },
				func(f *metav1.FieldsV1, c randfill.Continue) { f.Raw = []byte("{}") },
				func(f *float64, c randfill.Continue) { *f = float64(c.Int31()) / 4 },
				func(s *apiextensionsv1.JSONSchemaPropsOrBool, c randfill.Continue) { s.Allows = true },
				func(s *apiextensionsv1.JSONSchemaPropsOrArray, c randfill.Continue) {
					s.Schema = &apiextensionsv1.JSONSchemaProps{Type: "string"}
				},
				func(s *apiextensionsv1.JSONSchemaPropsOrStringArray, c randfill.Continue) {
					s.Property = []string{"a"}
				},
			).Fill(want)
			for _, mt := range []MediaType{JSON, YAML, Protobuf} {
				b, err := Encode(nil, mt, want)
				if err != nil {
					t.Fatal(err)
				}
				got, warnings, err := table.Decode(b, mt, r.GroupVersionKind(), Strict)
				if err != nil || len(warnings) > 0 {
					t.Fatalf("%s: %v %v", r.Kind, warnings, err)
				}
				if !apiequality.Semantic.DeepEqual(want, got) {
					t.Fatalf("%s, %v, seed %d: round trip changes the object: %s", r.Kind, mt, seed, cmp.Diff(want, got))
				}
			}
		}
	}
}

// What older releases wrote is read, and written as they say it would be.
func TestOlderEncodings(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(testdata(t), "..", "v*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no older encodings: %v", err)
	}
	table := New()
	for _, dir := range dirs {
		for _, r := range table.Resources() {
			group := r.Group
			if group == "" {
				group = "core"
			}
			name := group + "." + r.Version + "." + r.Kind
			for ext, mt := range map[string]MediaType{".json": JSON, ".yaml": YAML, ".pb": Protobuf} {
				b, err := os.ReadFile(filepath.Join(dir, name+ext))
				if errors.Is(err, os.ErrNotExist) {
					continue // was not there yet
				}
				if err != nil {
					t.Fatal(err)
				}
				obj, _, err := table.Decode(b, mt, r.GroupVersionKind(), Ignore)
				if err != nil {
					t.Errorf("%s %s%s: %v", filepath.Base(dir), name, ext, err)
					continue
				}
				after, err := os.ReadFile(filepath.Join(dir, name+".after_roundtrip"+ext))
				if errors.Is(err, os.ErrNotExist) {
					after = b
				} else if err != nil {
					t.Fatal(err)
				}
				want, _, err := table.Decode(after, mt, r.GroupVersionKind(), Strict)
				if err != nil {
					t.Errorf("%s %s%s, once more: %v", filepath.Base(dir), name, ext, err)
					continue
				}
				if !apiequality.Semantic.DeepEqual(obj, want) {
					t.Errorf("%s %s%s: %s", filepath.Base(dir), name, ext, cmp.Diff(want, obj))
				}
				if again, err := Encode(nil, mt, obj); err != nil || mt == Protobuf && !bytes.Equal(again, after) {
					t.Errorf("%s %s%s: encodes to other bytes than upstream's (%v)", filepath.Base(dir), name, ext, err)
				}
			}
		}
	}
}

// examples returns an empty object of the row and the one of upstream's
// encodings, in which every field is set.
func examples(t testing.TB, r *Resource) []runtime.Object {
	if elsewhere(r) {
		return []runtime.Object{r.New()}
	}
	group := r.Group
	if group == "" {
		group = "core"
	}
	b, err := os.ReadFile(filepath.Join(testdata(t), group+"."+r.Version+"."+r.Kind+".json"))
	if err != nil {
		t.Fatal(err)
	}
	full := r.New()
	if _, err := unmarshalText(full, b, JSON, Ignore); err != nil {
		t.Fatal(err)
	}
	return []runtime.Object{r.New(), full}
}
