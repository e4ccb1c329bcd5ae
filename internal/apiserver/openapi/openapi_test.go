package openapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/openapi/cached"
	"k8s.io/client-go/openapi3"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	explainv2 "k8s.io/kubectl/pkg/explain/v2"
	kubectlopenapi "k8s.io/kubectl/pkg/util/openapi"

	"clipper/internal/scheme"
)

func serve(t *testing.T) (*httptest.Server, *discovery.DiscoveryClient, *scheme.Table) {
	table := scheme.New()
	s := httptest.NewServer(New(table))
	t.Cleanup(s.Close)
	client, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return s, client, table
}

// specs returns what reads the document of a group version, once.
func specs(client *discovery.DiscoveryClient) func(schema.GroupVersion) (*spec3.OpenAPI, error) {
	root, read := openapi3.NewRoot(client.OpenAPIV3()), map[schema.GroupVersion]*spec3.OpenAPI{}
	return func(gv schema.GroupVersion) (_ *spec3.OpenAPI, err error) {
		if read[gv] == nil {
			read[gv], err = root.GVSpec(gv)
		}
		return read[gv], err
	}
}

// What kubectl explain prints comes from here, for every kind of the table.
func TestExplain(t *testing.T) {
	_, client, table := serve(t)
	oapi := cached.NewClient(client.OpenAPIV3())
	for _, r := range table.Resources() {
		var out bytes.Buffer
		if err := explainv2.PrintModelDescription(nil, &out, oapi, r.GroupVersionResource(), false, "plaintext"); err != nil {
			t.Errorf("explain %s: %v", r.Name, err)
		}
		if !strings.Contains(out.String(), "KIND:       "+r.Kind+"\n") {
			t.Errorf("explain %s: %s", r.Name, out.String())
		}
	}
	pods := table.ByPath("", "v1", "pods").GroupVersionResource()
	var out bytes.Buffer
	if err := explainv2.PrintModelDescription([]string{"spec", "containers", "imagePullPolicy"}, &out, oapi, pods, false, "plaintext"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FIELD: imagePullPolicy <string>", "ENUM:", "IfNotPresent", "Image pull policy."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("explain lacks %q: %s", want, out.String())
		}
	}
	if err := explainv2.PrintModelDescription([]string{"spec", "none"}, &out, oapi, pods, false, "plaintext"); err == nil {
		t.Error("a field that does not exist is explained")
	}
}

// kubectl asks whether a kind's patch takes fieldValidation before it sends it.
func TestQueryParameters(t *testing.T) {
	_, client, table := serve(t)
	for _, p := range []resource.VerifiableQueryParam{resource.QueryParamFieldValidation, "dryRun"} {
		verifier := resource.NewQueryParamVerifierV3(nil, cached.NewClient(client.OpenAPIV3()), p)
		for _, r := range table.Resources() {
			if !r.HasVerb("patch") {
				continue
			}
			if err := verifier.HasSupport(r.GroupVersionKind()); err != nil {
				t.Errorf("%s %s: %v", r.Kind, p, err)
			}
		}
	}
}

// Every verb of the table has its operation, in a document that client-go reads.
func TestPaths(t *testing.T) {
	_, client, table := serve(t)
	root := specs(client)
	for _, r := range table.Resources() {
		doc, err := root(r.GroupVersionKind().GroupVersion())
		if err != nil {
			t.Fatal(err)
		}
		base := "/apis/" + r.Group + "/" + r.Version + "/"
		if r.Group == "" {
			base = "/api/" + r.Version + "/"
		}
		if r.Namespaced {
			base += "namespaces/{namespace}/"
		}
		collection, object := doc.Paths.Paths[base+r.Name], doc.Paths.Paths[base+r.Name+"/{name}"]
		for _, verb := range r.Verbs {
			found := false
			switch verb {
			case "create":
				found = collection.Post != nil
			case "list", "watch":
				found = collection.Get != nil
			case "deletecollection":
				found = collection.Delete != nil
			case "get":
				found = object.Get != nil
			case "update":
				found = object.Put != nil
			case "patch":
				found = object.Patch != nil
			case "delete":
				found = object.Delete != nil
			}
			if !found {
				t.Errorf("%s: no operation for %s", r.Name, verb)
			}
		}
		for _, s := range r.Subresources {
			if doc.Paths.Paths[base+r.Name+"/{name}/"+s.Name] == nil {
				t.Errorf("%s/%s: no path", r.Name, s.Name)
			}
		}
	}
}

func TestV2(t *testing.T) {
	_, client, table := serve(t)
	doc, err := client.OpenAPISchema()
	if err != nil {
		t.Fatal(err)
	}
	resources, err := kubectlopenapi.NewOpenAPIData(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range table.Resources() {
		if resources.LookupResource(r.GroupVersionKind()) == nil {
			t.Errorf("%s is not in version 2", r.Kind)
		}
	}
}

func TestV3Protobuf(t *testing.T) {
	_, client, _ := serve(t)
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		t.Fatal(err)
	}
	for name, gv := range paths {
		b, err := gv.Schema(openapi.ContentTypeOpenAPIV3PB)
		if err != nil {
			t.Fatal(err)
		}
		var doc openapi_v3.Document
		if err := proto.Unmarshal(b, &doc); err != nil || len(doc.GetPaths().GetPath()) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	s, _, _ := serve(t)
	do := func(method, path string, header ...string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequest(method, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		// The transport itself neither asks for gzip nor follows.
		tr := &http.Transport{DisableCompression: true}
		defer tr.CloseIdleConnections()
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, b
	}

	res, root := do("GET", "/openapi/v3")
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(root, &index); err != nil {
		t.Fatalf("%v: %s", err, root)
	}
	if again, _ := do("GET", "/openapi/v3", "If-None-Match", res.Header.Get("Etag")); again.StatusCode != 304 {
		t.Errorf("unchanged index answers %d", again.StatusCode)
	}

	url := index.Paths["apis/apps/v1"].ServerRelativeURL
	res, plain := do("GET", url)
	if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || !json.Valid(plain) {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	// A client of this machine gets it as it is, one elsewhere compressed.
	if res, _ := do("GET", url, "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") != "" {
		t.Error("gzip within one machine")
	}
	far := func(encoding string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", url, nil) // from 192.0.2.1
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		s.Config.Handler.ServeHTTP(w, r)
		return w
	}
	w := far("gzip")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() >= len(plain)/3 {
		t.Errorf("%v, %d bytes", w.Header(), w.Body.Len())
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if unzipped, err := io.ReadAll(z); err != nil || !bytes.Equal(unzipped, plain) {
		t.Errorf("gzip holds something else: %v", err)
	}
	if w := far("gzip;q=0"); w.Header().Get("Content-Encoding") != "" {
		t.Error("gzip though it was refused")
	}
	if res, _ := do("GET", "/openapi/v3/apis/apps/v1?hash=OLD"); res.StatusCode != 301 || res.Header.Get("Location") != url {
		t.Errorf("old hash: %d %v", res.StatusCode, res.Header)
	}
	for path, code := range map[string]int{
		"/openapi/v3/apis/none/v1": 404, "/openapi/v3/../../go.mod": 404, "/openapi": 404, "/openapi/v4": 404, "/openapi/v3/ap": 404, "/openapi/v3/": 200, "/openapi/v2": 200,
	} {
		if res, _ := do("GET", path); res.StatusCode != code {
			t.Errorf("%s answers %d, want %d", path, res.StatusCode, code)
		}
	}
	if res, _ := do("GET", "/openapi/v2", "Accept", "text/html"); res.StatusCode != 406 {
		t.Errorf("html answers %d", res.StatusCode)
	}
	if res, _ := do("POST", "/openapi/v2"); res.StatusCode != 405 {
		t.Errorf("post answers %d", res.StatusCode)
	}
	res, b := do("GET", "/openapi/v2", "Accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
	if res.Header.Get("Content-Type") != "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" || len(b) == 0 {
		t.Errorf("%v", res.Header)
	}
	if res, b := do("HEAD", "/openapi/v2"); res.StatusCode != 200 || len(b) != 0 {
		t.Errorf("head answers %d with %d bytes", res.StatusCode, len(b))
	}
}

// The documents are those of the Go types: each field has its property, and no
// property is without a field. If not, they are to be generated anew.
func TestUpToDate(t *testing.T) {
	_, client, table := serve(t)
	root := specs(client)
	for _, r := range table.Resources() {
		doc, err := root(r.GroupVersionKind().GroupVersion())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[reflect.Type]bool{}
		checkType(t, doc.Components.Schemas, reflect.TypeOf(r.New()).Elem(), seen)
		if r.NewList != nil {
			checkType(t, doc.Components.Schemas, reflect.TypeOf(r.NewList()).Elem(), seen)
		}
	}
}

func checkType(t *testing.T, schemas map[string]*spec.Schema, typ reflect.Type, seen map[reflect.Type]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || seen[typ] {
		return
	}
	seen[typ] = true
	named, ok := reflect.Zero(typ).Interface().(interface{ OpenAPIModelName() string })
	if !ok {
		t.Errorf("%v has no model", typ)
		return
	}
	schema := schemas[named.OpenAPIModelName()]
	if schema == nil {
		t.Errorf("%s is missing: run go generate", named.OpenAPIModelName())
		return
	}
	if _, custom := reflect.New(typ).Interface().(json.Marshaler); custom {
		return
	}
	want := map[string]bool{}
	collect(typ, want, func(f reflect.Type) { checkType(t, schemas, f, seen) })
	for name := range want {
		if _, ok := schema.Properties[name]; !ok {
			t.Errorf("%v: property %s is missing: run go generate", typ, name)
		}
	}
	for name := range schema.Properties {
		if !want[name] {
			t.Errorf("%v: property %s has no field: run go generate", typ, name)
		}
	}
}

func collect(typ reflect.Type, names map[string]bool, visit func(reflect.Type)) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, more, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case strings.Contains(more, "inline"):
			collect(f.Type, names, visit)
		case name != "" && name != "-":
			names[name] = true
			visit(f.Type)
		}
	}
}

func BenchmarkDocument(b *testing.B) {
	h := New(scheme.New())
	for _, path := range []string{"/openapi/v3/apis/apps/v1", "/openapi/v2"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
