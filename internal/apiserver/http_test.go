package apiserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"clipper/internal/apiserver"
	"clipper/internal/apiserver/table"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// raw makes HTTP requests as they are.
type raw struct {
	t    *testing.T
	base string
	http *http.Client
}

func (c *cluster) raw(t *testing.T, name string, groups ...string) *raw {
	t.Helper()
	cfg := c.config("", name, groups...)
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &raw{t, cfg.Host, h}
}

// do returns the answer and its body; headers are pairs.
func (r *raw) do(method, path, body string, headers ...string) (*http.Response, string) {
	r.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.base+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, string(b)
}

// status expects a Status of the code and text.
func (r *raw) status(res *http.Response, body string, code int, reason metav1.StatusReason, message string) metav1.Status {
	r.t.Helper()
	var s metav1.Status
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		r.t.Errorf("%s: %v", body, err)
		return s
	}
	if res.StatusCode != code || int(s.Code) != code || s.Reason != reason || s.Message != message || s.Kind != "Status" || s.APIVersion != "v1" {
		r.t.Errorf("%s %s: %d %s", res.Request.Method, res.Request.URL.Path, res.StatusCode, body)
	}
	return s
}

const aMap = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"b"}}`

func TestErrors(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	const maps = "/api/v1/namespaces/default/configmaps"
	js := []string{"Content-Type", "application/json"}
	for _, x := range []struct {
		method, path, body string
		headers            []string
		code               int
		reason             metav1.StatusReason
		message            string
	}{
		{"GET", maps + "/none", "", nil, 404, "NotFound", `configmaps "none" not found`},
		{"GET", "/api/v1/nothings", "", nil, 404, "NotFound", "the server could not find the requested resource"},
		{"GET", maps + "/m/none", "", nil, 404, "NotFound", "the server could not find the requested resource"},
		{"POST", maps, aMap, []string{"Content-Type", "text/plain"}, 415, "UnsupportedMediaType",
			"the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{"GET", maps, "", []string{"Accept", "text/html"}, 406, "NotAcceptable",
			"406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "{}", []string{"Content-Type", "application/json", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"},
			406, "NotAcceptable", "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{"PATCH", maps + "/m", "{}", js, 415, "UnsupportedMediaType",
			"415: Unsupported Media Type"},
		{"POST", maps + "/m", aMap, js, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource"},
		{"DELETE", "/api/v1/namespaces", "", nil, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource"},
		{"POST", maps, strings.Replace(aMap, "name\":\"m", "namespace\":\"other\",\"name\":\"m", 1), js, 400, "BadRequest",
			"the namespace of the provided object does not match the namespace sent on the request"},
		{"PUT", maps + "/other", aMap, js, 400, "BadRequest", "the name of the object (m) does not match the name on the URL (other)"},
		{"PUT", maps + "/m", `{"metadata":{}}`, js, 400, "BadRequest", "the name of the object (m based on URL) was undeterminable: name must be provided"},
		{"PUT", maps + "/m", aMap, js, 404, "NotFound", `configmaps "m" not found`},
		{"POST", maps, `{"metadata":{}}`, js, 422, "Invalid", `ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required`},
		{"POST", maps, `{"metadata":{"name":"a/b"}}`, js, 422, "Invalid", `ConfigMap "a/b" is invalid: metadata.name: Invalid value: "a/b": ` + validation.IsDNS1123Subdomain("a/b")[0]},
		{"POST", maps, strings.Replace(aMap, "name\":\"m", "resourceVersion\":\"7\",\"name\":\"m", 1), js, 500, "",
			"resourceVersion should not be set on objects to be created"},
		{"POST", maps + "?fieldValidation=Strict", strings.Replace(aMap, `"data"`, `"dada"`, 1), js, 400, "BadRequest",
			`ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dada"`},
		{"GET", maps + "?fieldSelector=data.x%3Dy", "", nil, 400, "BadRequest", `"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"`},
		{"GET", maps + "?timeout=soon", "", nil, 400, "BadRequest", `invalid timeout specified in the request URL - time: invalid duration "soon"`},
		{"GET", "/version?timeout=soon", "", nil, 400, "BadRequest", `invalid timeout specified in the request URL - time: invalid duration "soon"`},
		{"GET", maps + "?continue=x", "", nil, 400, "BadRequest", "invalid continue token: continue key is not valid: illegal base64 data at input byte 0"},
		{"POST", maps, `{"data":{"x":"` + strings.Repeat("y", 3<<20) + `"}}`, js, 413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"},
		{"POST", maps + "?dryRun=Some", aMap, js, 422, "Invalid", `CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"`},
	} {
		res, body := a.do(x.method, x.path, x.body, x.headers...)
		a.status(res, body, x.code, x.reason, x.message)
	}
	b := c.raw(t, "bob")
	res, body := b.do("GET", "/api/v1/namespaces/y/pods", "")
	b.status(res, body, 403, "Forbidden", `pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "y"`)
	nobody := &raw{t, "https://" + c.addr, &http.Client{Transport: &http.Transport{TLSClientConfig: c.anonymous(t)}}}
	res, body = nobody.do("GET", "/api/v1/pods", "")
	nobody.status(res, body, 401, "Unauthorized", "Unauthorized")
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		if res, body := nobody.do("GET", path, ""); res.StatusCode != 200 || body != "ok" {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	const steps = `[+]poststarthook/start-service-ip-repair-controllers ok
[+]poststarthook/start-system-namespaces-controller ok
[+]poststarthook/scheduling/bootstrap-system-priority-classes ok
[+]poststarthook/bootstrap-controller ok
[+]poststarthook/start-kubernetes-service-cidr-controller ok
[+]poststarthook/kube-apiserver-autoregistration ok
`
	for path, want := range map[string]string{
		"/livez?verbose":   "[+]ping ok\n[+]etcd ok\n" + steps + "livez check passed\n",
		"/healthz?verbose": "[+]ping ok\n[+]etcd ok\n" + steps + "healthz check passed\n",
		"/readyz?verbose":  "[+]ping ok\n[+]etcd ok\n[+]informer-sync ok\n" + steps + "[+]shutdown ok\nreadyz check passed\n",
		"/livez?verbose&exclude=b&exclude=etcd&exclude=a": "[+]ping ok\n[+]etcd excluded: ok\n" + steps +
			"warn: some health checks cannot be excluded: no matches for \"a\",\"b\"\nlivez check passed\n",
		"/livez?exclude=a": "ok",
		"/livez/poststarthook/scheduling/bootstrap-system-priority-classes": "ok",
		"/readyz/shutdown":       "ok",
		"/healthz/informer-sync": "404 page not found\n",
		"/livez/":                "404 page not found\n",
		"/livez/poststarthook":   "404 page not found\n",
	} {
		if _, body := a.do("GET", path, ""); body != want {
			t.Errorf("%s: %s", path, body)
		}
	}
	if res, body := a.do("GET", "/metrics", ""); res.StatusCode != 200 || !strings.Contains(body, `apiserver_request_total{code="404",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="GET",version="v1"} 1`) {
		t.Errorf("%d %.3000s", res.StatusCode, body)
	}
}

func TestForms(t *testing.T) {
	c := start(t, func(c *apiserver.Config) { c.Tabler = table.New(clock.RealClock{}) })
	a := c.raw(t, "admin", "system:masters")
	const maps = "/api/v1/namespaces/default/configmaps"
	res, body := a.do("POST", maps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, labels: {a: b}}\ndata: {k: v}\nmore: x\n", "Content-Type", "application/yaml")
	if res.StatusCode != 201 || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Cache-Control") != "no-cache, private" {
		t.Errorf("%v %s", res, body)
	}
	if d := cmp.Diff([]string{`299 - "unknown field \"more\""`}, res.Header["Warning"]); d != "" {
		t.Error(d)
	}
	if !strings.HasSuffix(body, "}\n") {
		t.Errorf("%q", body)
	}
	if _, body = a.do("GET", maps+"/m", "", "Accept", "application/yaml"); !strings.HasPrefix(body, "apiVersion: v1\ndata:\n  k: v\nkind: ConfigMap\n") {
		t.Error(body)
	}
	if _, body = a.do("GET", maps, "", "Accept", "application/yaml"); !strings.HasPrefix(body, "apiVersion: v1\nitems:\n") {
		t.Error(body)
	}
	if _, body = a.do("GET", maps+"/m?pretty=1", ""); !strings.HasPrefix(body, "{\n  \"kind\"") {
		t.Error(body)
	}
	const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
	for _, path := range []string{maps, maps + "/m"} {
		_, body = a.do("GET", path, "", "Accept", asTable)
		var tab metav1.Table
		if err := json.Unmarshal([]byte(body), &tab); err != nil {
			t.Fatal(err)
		}
		if tab.Kind != "Table" || tab.APIVersion != "meta.k8s.io/v1" || len(tab.Rows) != 1 || tab.Rows[0].Cells[0] != "m" || tab.ResourceVersion == "" {
			t.Error(body)
		}
	}
	for _, version := range []string{"v1", "v1beta1"} {
		accept := "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=" + version
		_, body = a.do("GET", maps+"/m", "", "Accept", accept)
		var p metav1.PartialObjectMetadata
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		if p.APIVersion != "meta.k8s.io/"+version || p.Kind != "PartialObjectMetadata" || p.Labels["a"] != "b" || strings.Contains(body, `"data"`) {
			t.Error(body)
		}
		_, body = a.do("GET", maps, "", "Accept", strings.Replace(accept, "Metadata;", "MetadataList;", 1))
		var l metav1.PartialObjectMetadataList
		if err := json.Unmarshal([]byte(body), &l); err != nil {
			t.Fatal(err)
		}
		if l.APIVersion != "meta.k8s.io/"+version || l.Kind != "PartialObjectMetadataList" || len(l.Items) != 1 || l.ResourceVersion == "" || strings.Contains(body, `"data"`) {
			t.Error(body)
		}
	}
	// A watch as kubectl makes it: a table an event, the columns once.
	_, body = a.do("GET", maps+"?watch=true&timeoutSeconds=1", "", "Accept", asTable)
	var ev struct {
		Type   string
		Object metav1.Table
	}
	if err := json.Unmarshal([]byte(body), &ev); err != nil || ev.Type != "ADDED" || len(ev.Object.ColumnDefinitions) == 0 || len(ev.Object.Rows) != 1 {
		t.Errorf("%v %s", err, body)
	}
}
