package discovery

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"clipper/internal/scheme"
)

func serve(t *testing.T) (*httptest.Server, *scheme.Table) {
	table := scheme.New()
	s := httptest.NewServer(New(Config{Table: table, ServerAddress: "10.0.0.1:6443"}))
	t.Cleanup(s.Close)
	return s, table
}

// What client-go finds is the table, by each way of asking.
func TestClient(t *testing.T) {
	s, table := serve(t)
	for name, config := range map[string]*rest.Config{
		"json":     {Host: s.URL},
		"protobuf": {Host: s.URL, ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf", AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json"}},
	} {
		for _, legacy := range []bool{false, true} {
			client, err := discovery.NewDiscoveryClientForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			client.UseLegacyDiscovery = legacy
			groups, lists, err := client.ServerGroupsAndResources()
			if err != nil {
				t.Fatalf("%s legacy=%v: %v", name, legacy, err)
			}
			if len(groups) != len(table.Groups()) {
				t.Errorf("%d groups, want %d", len(groups), len(table.Groups()))
			}
			for i, g := range table.Groups() {
				if groups[i].Name != g.Name || groups[i].PreferredVersion.Version != g.Versions[0] {
					t.Errorf("group %d is %q at %q, want %q at %q", i, groups[i].Name, groups[i].PreferredVersion.Version, g.Name, g.Versions[0])
				}
			}
			found := 0
			for _, list := range lists {
				gv, err := schema.ParseGroupVersion(list.GroupVersion)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range list.APIResources {
					plural, sub, _ := strings.Cut(r.Name, "/")
					row := table.ByPath(gv.Group, gv.Version, plural)
					if row == nil {
						t.Fatalf("%s is not in the table", r.Name)
					}
					if sub != "" {
						if row.Subresource(sub) == nil {
							t.Errorf("%s is not in the table", r.Name)
						}
						continue
					}
					found++
					if row.Kind != r.Kind || row.Namespaced != r.Namespaced || row.Singular != r.SingularName ||
						!slices.Equal(row.Verbs, []string(r.Verbs)) || !slices.Equal(row.ShortNames, r.ShortNames) || !slices.Equal(row.Categories, r.Categories) {
						t.Errorf("%s: %+v", r.Name, r)
					}
				}
			}
			if found != len(table.Resources()) {
				t.Errorf("%d resources, want %d", found, len(table.Resources()))
			}
		}
	}
}

func TestMapper(t *testing.T) {
	s, _ := serve(t)
	client, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewShortcutExpander(restmapper.NewDiscoveryRESTMapper(groups), client, nil)
	for arg, want := range map[string]string{
		"po": "pods", "pod": "pods", "svc": "services", "deploy": "deployments", "ev": "events", "ing": "ingresses",
		"endpoints": "endpoints", "netpol": "networkpolicies", "pdb": "poddisruptionbudgets", "no": "nodes",
	} {
		got, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: arg})
		if err != nil || got.Resource != want {
			t.Errorf("%s: %v, %v", arg, got, err)
		}
	}
	m, err := mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"})
	if err != nil || m.Resource.Resource != "deployments" || m.Scope.Name() != "namespace" {
		t.Errorf("mapping %+v, %v", m, err)
	}
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestHTTP(t *testing.T) {
	s, _ := serve(t)
	const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	const beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
	tests := []struct {
		path, accept string
		code         int
		contentType  string
		contains     string
	}{
		{"/api", "", 200, "application/json", `"versions":["v1"]`},
		{"/api/", "*/*", 200, "application/json", `"serverAddress":"10.0.0.1:6443"`},
		{"/apis", "application/json", 200, "application/json", `{"name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}}`},
		{"/apis/apps", "", 200, "application/json", `"kind":"APIGroup"`},
		{"/apis/apps/v1", "", 200, "application/json", `{"name":"deployments/scale","singularName":"","namespaced":true,"group":"autoscaling","version":"v1","kind":"Scale","verbs":["get","patch","update"]}`},
		{"/api/v1", "", 200, "application/json", `"shortNames":["po"],"categories":["all"],"storageVersionHash":"xPOwRZ+Yhw8="`},
		{"/api/v1", "application/yaml", 200, "application/yaml", "kind: APIResourceList"},
		{"/api/v1", "text/html", 406, "application/json", `"reason":"NotAcceptable"`},
		{"/apis/apps/v1", aggregated, 406, "application/json", `"reason":"NotAcceptable"`},
		{"/apis", aggregated + "," + beta + ",application/json", 200, aggregated, `"apiVersion":"apidiscovery.k8s.io/v2"`},
		{"/apis", beta + ",application/json", 200, beta, `"apiVersion":"apidiscovery.k8s.io/v2beta1"`},
		{"/apis", aggregated + ";q=0.1,application/json", 200, "application/json", `"kind":"APIGroupList"`},
		{"/api", aggregated, 200, aggregated, `"subresource":"ephemeralcontainers"`},
		{"/apis/none", "", 404, "text/plain; charset=utf-8", "404 page not found"},
		{"/apis/apps/v2", "", 404, "text/plain; charset=utf-8", "404 page not found"},
		{"/apis//v1", "", 404, "text/plain; charset=utf-8", "404 page not found"},
		{"/api/v2", "", 404, "text/plain; charset=utf-8", "404 page not found"},
	}
	for _, tt := range tests {
		var header []string
		if tt.accept != "" {
			header = []string{"Accept", tt.accept}
		}
		res, body := get(t, s.URL+tt.path, header...)
		if res.StatusCode != tt.code || res.Header.Get("Content-Type") != tt.contentType || !strings.Contains(body, tt.contains) {
			t.Errorf("%s (%s): %d %s\n%s\nwant %d %s with %s", tt.path, tt.accept, res.StatusCode, res.Header.Get("Content-Type"), body, tt.code, tt.contentType, tt.contains)
		}
		if res.StatusCode == 200 && strings.Contains(tt.contentType, "as=") {
			again, _ := get(t, s.URL+tt.path, "Accept", tt.accept, "If-None-Match", res.Header.Get("Etag"))
			if again.StatusCode != http.StatusNotModified {
				t.Errorf("%s: unchanged document answers %d", tt.path, again.StatusCode)
			}
		}
	}
	res, err := http.Post(s.URL+"/apis", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("post answers %d", res.StatusCode)
	}
}
