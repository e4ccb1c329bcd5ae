package apiserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1beta1 "k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apiserver/pkg/authentication/user"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"

	"clipper/internal/apiserver"
	"clipper/internal/apiserver/table"
	"clipper/internal/auth"
)

// reader reads answers as a client does that knows all kinds and all forms.
type reader struct {
	scheme *runtime.Scheme
	codecs serializer.CodecFactory
}

func newReader(t testing.TB) *reader {
	s := runtime.NewScheme()
	if err := errors.Join(clientscheme.AddToScheme(s), metav1.AddMetaToScheme(s), metav1beta1.AddMetaToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return &reader{s, serializer.NewCodecFactory(s)}
}

// objects tells which objects an answer holds, each on a line, and its kind.
func (r *reader) objects(body []byte) (lines []string, kind string, err error) {
	o, gvk, err := r.codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, "", err
	}
	line := func(o runtime.Object) error {
		m, err := meta.Accessor(o)
		if err == nil {
			lines = append(lines, fmt.Sprint(m.GetNamespace(), "/", m.GetName(), " ", m.GetResourceVersion(), " ", m.GetLabels()))
		}
		return err
	}
	switch o := o.(type) {
	case *metav1.Table:
		for i := range o.Rows {
			var p metav1.PartialObjectMetadata
			if err = json.Unmarshal(o.Rows[i].Object.Raw, &p); err != nil || p.Kind != "PartialObjectMetadata" {
				return nil, "", fmt.Errorf("a row of %s: %w", o.Rows[i].Object.Raw, err)
			}
			err = errors.Join(err, line(&p))
		}
	case *metav1.PartialObjectMetadataList:
		for i := range o.Items {
			// In protobuf what is in a list does not say what it is.
			if v := o.Items[i].APIVersion; v != "" && v != gvk.GroupVersion().String() {
				err = errors.Join(err, fmt.Errorf("a list of %s holds a %s", gvk.GroupVersion(), v))
			}
			err = errors.Join(err, line(&o.Items[i]))
		}
	default:
		if meta.IsListType(o) {
			err = meta.EachListItem(o, line)
		} else {
			err = line(o)
		}
	}
	return lines, gvk.Kind, err
}

// events splits the stream of a watch into its objects.
func (r *reader) events(body []byte, contentType string) (types []string, objects [][]byte, err error) {
	var d streaming.Decoder
	if strings.HasPrefix(contentType, "application/vnd.kubernetes.protobuf") {
		frames := protobuf.LengthDelimitedFramer.NewFrameReader(io.NopCloser(bytes.NewReader(body)))
		d = streaming.NewDecoder(frames, protobuf.NewRawSerializer(r.scheme, r.scheme))
	} else {
		lines := json.NewDecoder(bytes.NewReader(body))
		for {
			var e metav1.WatchEvent
			if err := lines.Decode(&e); err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return types, objects, err
			}
			types, objects = append(types, e.Type), append(objects, e.Object.Raw)
		}
	}
	for {
		var e metav1.WatchEvent
		if _, _, err := d.Decode(nil, &e); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return types, objects, err
		}
		types, objects = append(types, e.Type), append(objects, e.Object.Raw)
	}
}

// once is a client who leaves when it was told something.
type once struct {
	*httptest.ResponseRecorder
	leave func()
}

func (o once) Flush() {
	if o.Body.Len() > 0 {
		o.leave()
	}
}

// In whatever form an answer is, it is of the objects that it is in every other.
func FuzzForms(f *testing.F) {
	paths := []string{
		mapsPath, "/api/v1/nodes", "/apis/apps/v1/namespaces/default/deployments", "/api/v1/namespaces/default/events",
		"/apis/events.k8s.io/v1/namespaces/default/events", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
		"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", "/api/v1/secrets",
	}
	bodies := map[string][]string{
		paths[0]: {`{"metadata":{"name":"a","labels":{"x":"y"}},"data":{"k":"v"}}`, `{"metadata":{"name":"b"},"binaryData":{"k":"AAEC"}}`},
		paths[1]: {`{"metadata":{"name":"n"}}`},
		paths[2]: {`{"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`},
		paths[3]: {`{"metadata":{"name":"e"},"involvedObject":{"namespace":"default","kind":"Pod","name":"p"},"reason":"r","message":"m","type":"Normal","count":3}`},
		paths[6]: {`{"metadata":{"name":"h"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"maxReplicas":3,"metrics":[{"type":"Resource","resource":{"name":"memory","target":{"type":"AverageValue","averageValue":"1Gi"}}}]}}`},
		paths[7]: nil,
	}
	c := start(f, func(c *apiserver.Config) { c.Tabler = table.New(clock.RealClock{}) })
	admin := auth.WithUser(f.Context(), &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}})
	ask := func(t testing.TB, ctx context.Context, w http.ResponseWriter, method, target, accept, body string) {
		r, err := http.NewRequestWithContext(ctx, method, "https://server"+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.RequestURI, r.RemoteAddr = target, "192.0.2.9:1"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", accept)
		c.server.Handler().ServeHTTP(w, r)
	}
	for path, bodies := range bodies {
		for _, body := range bodies {
			w := httptest.NewRecorder()
			if ask(f, admin, w, "POST", path, "", body); w.Code != http.StatusCreated {
				f.Fatalf("%s: %s", path, w.Body)
			}
		}
	}
	read := newReader(f)
	want, kinds, first := map[string][]string{}, map[string]string{}, map[string]string{}
	for i, path := range paths {
		w := httptest.NewRecorder()
		ask(f, admin, w, "GET", path, "", "")
		lines, kind, err := read.objects(w.Body.Bytes())
		if err != nil || len(lines) == 0 && i < len(paths)-1 {
			f.Fatalf("%s: %v %s", path, err, w.Body)
		}
		want[path], kinds[path] = lines, strings.TrimSuffix(kind, "List")
		if len(lines) > 0 {
			first[path] = lines[0][strings.Index(lines[0], "/")+1 : strings.Index(lines[0], " ")]
		}
	}
	const as = ";g=meta.k8s.io;v="
	for i, accept := range []string{
		"", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf",
		"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/yaml;as=Table" + as + "v1beta1", "application/json;as=Table" + as + "v1beta1",
		"application/json;as=PartialObjectMetadataList" + as + "v1", "application/json;as=PartialObjectMetadata" + as + "v1beta1",
		"application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList" + as + "v1", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata" + as + "v1beta1",
		"application/yaml;as=PartialObjectMetadata" + as + "v1", "text/html", "*/*;q=0.1,application/yaml",
	} {
		for what := range 3 {
			f.Add(byte(i+what), byte(what), accept)
			f.Add(byte(i+what+4), byte(what), accept)
		}
	}
	f.Fuzz(func(t *testing.T, which, what byte, accept string) {
		path := paths[int(which)%len(paths)]
		ctx, cancel := context.WithCancel(admin)
		defer cancel()
		w := httptest.NewRecorder()
		target, to, names := path, http.ResponseWriter(w), want[path]
		kind := kinds[path] + "List"
		switch {
		case what%3 == 1 && first[path] != "":
			target, names, kind = path+"/"+first[path], names[:1], kinds[path]
		case what%3 == 2:
			target += "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
			to, kind = once{w, cancel}, kinds[path]
		}
		ask(t, ctx, to, "GET", target, accept, "")
		media := w.Header().Get("Content-Type")
		if w.Code == http.StatusNotAcceptable {
			o, _, err := read.codecs.UniversalDeserializer().Decode(w.Body.Bytes(), nil, nil)
			if s, ok := o.(*metav1.Status); err != nil || !ok || s.Reason != metav1.StatusReasonNotAcceptable {
				t.Errorf("%s as %q: %s", target, accept, w.Body)
			}
			return
		}
		if w.Code != http.StatusOK {
			t.Fatalf("%s as %q: %d %s", target, accept, w.Code, w.Body)
		}
		if binary := bytes.HasPrefix(w.Body.Bytes(), []byte("k8s\x00")); what%3 != 2 && binary != (media == "application/vnd.kubernetes.protobuf") {
			t.Errorf("%s as %q is not %s: %q", target, accept, media, w.Body)
		}
		check := func(got []string, k string, body []byte) {
			partial := "PartialObjectMetadata" + strings.TrimPrefix(kind, kinds[path])
			if k != kind && k != "Table" && k != partial {
				t.Errorf("%s as %q is a %s: %q", target, accept, k, body)
			}
			if !slices.Equal(got, names) {
				t.Errorf("%s as %q is %q, not %q", target, accept, got, names)
			}
		}
		if what%3 != 2 {
			got, k, err := read.objects(w.Body.Bytes())
			if err != nil {
				t.Fatalf("%s as %q: %v in %q", target, accept, err, w.Body)
			}
			check(got, k, w.Body.Bytes())
			return
		}
		types, objects, err := read.events(w.Body.Bytes(), media)
		if err != nil || len(types) != len(names)+1 || types[len(names)] != "BOOKMARK" {
			t.Fatalf("%s as %q: %q %v in %q", target, accept, types, err, w.Body)
		}
		var all []string
		for i, o := range objects {
			got, k, err := read.objects(o)
			if err != nil || len(got) != 1 {
				t.Fatalf("%s as %q: %v %q in %q", target, accept, err, got, o)
			}
			if i == len(names) {
				got = nil // what a bookmark is of has no name
			}
			if all = append(all, got...); i == len(names) {
				check(all, k, w.Body.Bytes())
			}
		}
	})
}
