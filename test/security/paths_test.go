package security

import (
	"strings"
	"testing"

	"clipper/internal/auth"
)

// testPaths: no spelling of a path gets anyone further, and nobody is somebody
// else by asking for it.
func testPaths(t *testing.T, w *world) {
	anonymous := w.as(t, "")
	for _, path := range []string{
		"/healthz/", "//healthz", "/healthz/..", "/healthz/../api/v1/secrets", "/healthz%2f..%2fapi%2fv1%2fsecrets",
		"/version/../api/v1/secrets", "/version/secrets", "/livez/../metrics", "/./metrics", "//metrics", "/%6detrics", "/metrics/",
		"/bootstrap/ca.crt/../../api/v1/secrets", "/bootstrap/", "/bootstrap/ca.key", "/bootstrap/..%2fca.key",
		"/api/v1/namespaces/default/secrets", "/api//v1/secrets", "//api/v1/secrets", "/API/v1/secrets", "/api/v1/secrets;a=b", "/api/v1/secrets%00",
		"/apis/../api/v1/secrets", "/openapi/../api/v1/secrets", "/debug/pprof/", "/debug/pprof/cmdline", "/.well-known/openid-configuration/../../api/v1/secrets",
	} {
		if code, text := anonymous.ask(t, "GET", path, ""); code != 401 && !(code == 200 && text == "ok") {
			t.Errorf("GET %s without a credential: %d %.200s", path, code, text)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"} {
		if code, text := anonymous.ask(t, method, "/version", ""); code != 401 {
			t.Errorf("%s /version without a credential: %d %.200s", method, code, text)
		}
	}

	user := w.as(t, "someone")
	proxies := []string{"/api/v1/nodes/" + w.Node() + "/proxy", "/api/v1/namespaces/default/pods/p:80/proxy", "/api/v1/namespaces/default/services/kubernetes:443/proxy"}
	for _, path := range []string{
		"/api/v1/secrets", "/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default//secrets", "/api/v1/namespaces//secrets",
		"/api/v1/watch/secrets", "/api/v1/watch/namespaces/default/secrets", "/apis//v1/secrets",
		"/api/../api/v1/secrets", "/api/v1/../v1/secrets", "/apis/../api/v1/secrets", "/openapi/v2/../../api/v1/secrets", "/healthz/../api/v1/secrets",
		"/version/../metrics", "/apis/..%2fmetrics", "/debug/pprof/heap", "/metrics",
		"/api/v1/namespaces/default/pods/x/exec?command=id&stdout=1", "/api/v1/namespaces/default/pods/x/attach?stdout=1",
		"/api/v1/namespaces/default/pods/x/portforward", "/api/v1/namespaces/default/pods/x/log",
		proxies[0], proxies[0] + "/", proxies[0] + "/../../../version", proxies[0] + "//pods", proxies[0] + "/%2e%2e/pods",
		proxies[1] + "/", proxies[1] + "/%2e%2e%2f", proxies[2] + "/api/v1/secrets", proxies[2] + "/../../../../../healthz",
	} {
		code, text := user.ask(t, "GET", path, "")
		if code != 403 && code != 404 {
			t.Errorf("GET %s with no rights: %d %.200s", path, code, text)
		}
	}

	for _, c := range []struct {
		why     string
		headers []string
	}{
		{"to be the administrator", []string{"Impersonate-User", "kubernetes-admin", "Impersonate-Group", auth.Masters}},
		{"to be in a group", []string{"Impersonate-User", "someone", "Impersonate-Group", auth.Masters}},
		{"to be a ServiceAccount", []string{"Impersonate-User", auth.ServiceAccountUser("kube-system", "generic-garbage-collector")}},
		{"to be a node", []string{"Impersonate-User", auth.NodeUser(w.Node()), "Impersonate-Group", auth.Nodes}},
		{"by another spelling", []string{"impersonate-user", "kubernetes-admin", "IMPERSONATE-GROUP", auth.Masters}},
	} {
		if code, text := user.ask(t, "GET", "/apis", "", c.headers...); code != 403 {
			t.Errorf("asking %s: %d %.200s", c.why, code, text)
		}
	}
	if code, text := user.ask(t, "GET", "/apis", "", "Impersonate-Group", auth.Masters); code < 400 {
		t.Errorf("asking for a group without a user: %d %.200s", code, text)
	}
	for _, header := range []string{"X-Remote-User", "X-Remote-Group", "X-Forwarded-User", "X-Forwarded-For"} {
		if code, _ := user.ask(t, "GET", "/api/v1/secrets", "", header, auth.Masters); code != 403 {
			t.Errorf("header %s is believed: %d", header, code)
		}
	}

	// The administrator's proxies lead where they say.
	admin := w.as(t, "admin", auth.Masters)
	for _, c := range []struct {
		path, not string
		code      int
	}{
		{proxies[0] + "/healthz", "", 200},
		{proxies[0] + "/%2e%2e/%2e%2e/healthz", `"major"`, 0},
		{"/api/v1/nodes/" + w.Node() + ":65536/proxy/", "", 400},
		{"/api/v1/nodes/" + w.Node() + ":0x1/proxy/", "", 400},
		{"/api/v1/nodes/file:" + w.Node() + ":1/proxy/", "", 400},
		{"/api/v1/namespaces/default/pods/..:80/proxy/", "", 404},
		// No pod's address is behind it: it would be the API server asking itself.
		{proxies[2] + "/version", "", 503},
	} {
		code, text := admin.ask(t, "GET", c.path, "")
		if c.code != 0 && code != c.code || c.not != "" && strings.Contains(text, c.not) {
			t.Errorf("GET %s: %d, want %d: %.200s", c.path, code, c.code, text)
		}
	}
}
