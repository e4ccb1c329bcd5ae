package apiserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, x := range []struct {
		method, path string
		watch        bool
		want         route
	}{
		{"GET", "/api/v1/pods", false, route{verb: "list", resource: true, version: "v1", plural: "pods"}},
		{"GET", "/api/v1/pods", true, route{verb: "watch", resource: true, version: "v1", plural: "pods"}},
		{"GET", "/api/v1/watch/pods", false, route{verb: "watch", resource: true, version: "v1", plural: "pods"}},
		{"GET", "/api/v1/watch/namespaces/n/pods/p", false, route{verb: "watch", resource: true, version: "v1", namespace: "n", plural: "pods", name: "p"}},
		{"GET", "/api/v1/namespaces/n/pods/p", true, route{verb: "get", resource: true, version: "v1", namespace: "n", plural: "pods", name: "p"}},
		{"POST", "/api/v1/namespaces/n/pods", false, route{verb: "create", resource: true, version: "v1", namespace: "n", plural: "pods"}},
		{"PUT", "/api/v1/namespaces/n/status", false, route{verb: "update", resource: true, version: "v1", namespace: "n", plural: "namespaces", name: "n", subresource: "status"}},
		{"PUT", "/api/v1/namespaces/n/finalize", false, route{verb: "update", resource: true, version: "v1", namespace: "n", plural: "namespaces", name: "n", subresource: "finalize"}},
		{"DELETE", "/api/v1/namespaces/n", false, route{verb: "delete", resource: true, version: "v1", namespace: "n", plural: "namespaces", name: "n"}},
		{"DELETE", "/api/v1/namespaces/n/pods", false, route{verb: "deletecollection", resource: true, version: "v1", namespace: "n", plural: "pods"}},
		{"PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale", false, route{verb: "patch", resource: true, group: "apps", version: "v1", namespace: "n", plural: "deployments", name: "d", subresource: "scale"}},
		{"GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/r", false, route{verb: "get", resource: true, group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles", name: "r"}},
		{"GET", "/api/v1/namespaces/n/services/http:s:80/proxy/a/b", false, route{verb: "get", resource: true, version: "v1", namespace: "n", plural: "services", name: "http:s:80", subresource: "proxy", below: "/a/b"}},
		{"GET", "/api/v1/nodes/x/proxy/", false, route{verb: "get", resource: true, version: "v1", plural: "nodes", name: "x", subresource: "proxy", below: "/"}},
		{"GET", "/api/v1", false, route{verb: "get"}},
		{"GET", "/api/v1/", false, route{verb: "get"}},
		{"GET", "/apis/apps", false, route{verb: "get"}},
		{"GET", "/apis/apps/v1", false, route{verb: "get"}},
		{"GET", "/version", false, route{verb: "get"}},
		{"GET", "/", false, route{verb: "get"}},
	} {
		if d := cmp.Diff(x.want, parse(x.method, x.path, x.watch), cmp.AllowUnexported(route{})); d != "" {
			t.Errorf("%s %s: %s", x.method, x.path, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range []string{"/api/v1/pods", "/apis/a/b/namespaces/c/d/e/f/g", "//api//v1///", "/api/v1/watch/namespaces/"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r := parse("GET", path, false)
		if r.resource && (r.version == "" || r.plural == "" && r.name != "") {
			t.Errorf("%q: %+v", path, r)
		}
	})
}
