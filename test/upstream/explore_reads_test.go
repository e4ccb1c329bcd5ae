package upstream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"clipper/internal/scheme"
)

// TestExploreReads asks both servers, of every kind, what is not about its
// fields: media types, selectors, parameters of lists, methods, subresources.
func TestExploreReads(t *testing.T) {
	if *explore == "" || *server == "" {
		t.Skip("no -explore and -server")
	}
	both := [2]*api{ours(t), theirs(t)}
	for _, a := range both {
		a.ask("POST", "/api/v1/namespaces/default/serviceaccounts", jsonType, jsonType, []byte(`{"metadata":{"name":"default"}}`))
	}
	var out strings.Builder
	asked, differ := 0, map[string]int{}
	save := func() {
		head := fmt.Sprintf("# %d asked, different by shape: %v\n", asked, differ)
		if err := os.WriteFile(*explore+".reads", []byte(head+out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	defer save()
	ask := func(shape, method, path string, body string, headers ...string) {
		asked++
		var said [2]string
		var wait sync.WaitGroup // some wait a second
		for i, a := range both {
			wait.Go(func() {
				r, err := http.NewRequest(method, a.base+path, strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("User-Agent", "test")
				for j := 0; j < len(headers); j += 2 {
					r.Header.Set(headers[j], headers[j+1])
				}
				res := a.do(r)
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil {
					t.Error(err)
					return
				}
				said[i] = fmt.Sprintf("%d %s %s", res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Cache-Control"))
				if allow := res.Header.Get("Allow"); allow != "" {
					said[i] += " allow " + allow
				}
				if w := res.Header.Get("Warning"); w != "" {
					said[i] += " " + w
				}
				var s struct{ Kind, Reason, Message string }
				if res.StatusCode >= 400 {
					if json.Unmarshal(b, &s) == nil && s.Kind == "Status" {
						said[i] += " " + s.Reason + ": " + s.Message
					} else {
						said[i] += " " + string(b[:min(300, len(b))])
					}
				} else if json.Unmarshal(b, &s) == nil {
					said[i] += " " + s.Kind
				}
				said[i] = masked(said[i])
			})
		}
		wait.Wait()
		if said[0] != said[1] {
			differ[shape]++
			if differ[shape] <= 3 {
				fmt.Fprintf(&out, "%s: %s %s %v\n\tours:   %s\n\ttheirs: %s\n", shape, method, path, headers, said[0], said[1])
			}
		}
	}
	for _, r := range scheme.New().Resources() {
		if only := os.Getenv("ONLY"); only != "" && !regexp.MustCompile(only).MatchString(r.Kind) {
			continue
		}
		root := "/apis/" + r.Group + "/" + r.Version + "/"
		if r.Group == "" {
			root = "/api/v1/"
		}
		path := root + r.Name
		one := path + "/none"
		if r.Namespaced {
			one = root + "namespaces/default/" + r.Name + "/none"
			path = root + "namespaces/default/" + r.Name
		}
		for _, q := range []string{
			"", "limit=1", "limit=-1", "limit=x", "continue=x", "resourceVersion=x", "resourceVersion=0", "resourceVersion=-1", "resourceVersion=0&resourceVersionMatch=Exact",
			"resourceVersionMatch=X", "resourceVersionMatch=Exact", "resourceVersionMatch=NotOlderThan", "resourceVersion=99999999&resourceVersionMatch=NotOlderThan&timeoutSeconds=1",
			"limit=1&continue=x&resourceVersion=1", "sendInitialEvents=true", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "watch=1&sendInitialEvents=true&timeoutSeconds=1",
			"watch=1&resourceVersionMatch=NotOlderThan&timeoutSeconds=1", "watch=1&resourceVersion=x&timeoutSeconds=1", "watch=x&timeoutSeconds=1", "labelSelector=a%20b", "labelSelector=a%3D%3D", "labelSelector=a%20in%20(b", "labelSelector=!",
			"labelSelector=a%3Db", "fieldSelector=a", "fieldSelector=x%3Dy", "fieldSelector=metadata.name%3Dx", "fieldSelector=metadata.namespace%3Dx", "fieldSelector=metadata.name!%3Dx", "fieldSelector=spec.nodeName%3Dx",
			"fieldSelector=status.phase%3Dx", "fieldSelector=type%3Dx", "fieldSelector=metadata.uid%3Dx", "pretty=true", "allowWatchBookmarks=x", "shardSelector=x",
		} {
			ask("list ?"+q, "GET", path+"?"+q, "")
		}
		for _, accept := range []string{"text/html", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json;as=Table;g=meta.k8s.io;v=v1", "application/json;as=Table;g=meta.k8s.io;v=v1beta1",
			"application/json;as=Table;g=meta.k8s.io;v=v2", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "application/json;as=X;g=meta.k8s.io;v=v1",
			"application/cbor", "*/*", "application/*", "application/json;stream=watch", "application/json;q=0.1,application/yaml", "text/html,application/json;q=0.5", ""} {
			ask("list accept "+accept, "GET", path, "", "Accept", accept)
			ask("get accept "+accept, "GET", one, "", "Accept", accept)
		}
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "FOO"} {
			ask("collection "+method, method, path+"?dryRun=All", "", "Content-Type", "application/json")
			ask("one "+method, method, one+"?dryRun=All", "", "Content-Type", "application/json")
		}
		for _, media := range []string{"text/plain", "", "application/yaml", "application/json", "application/json; charset=utf-8", "application/merge-patch+json", "application/cbor"} {
			for _, body := range []string{"", "{", "[]", "null", "1", `{"kind":"X","apiVersion":"v1"}`, `{"kind":"` + r.Kind + `","apiVersion":"x/y"}`, `{"metadata":1}`, `{"metadata":{"name":"a"},"metadata":{}}`, `{"spec":[]}`} {
				ask("post "+media, "POST", path+"?dryRun=All&fieldValidation=Strict", body, "Content-Type", media)
				ask("put "+media, "PUT", one+"?dryRun=All", body, "Content-Type", media)
			}
		}
		for _, q := range []string{"dryRun=x", "fieldValidation=x", "fieldManager=" + long, "fieldManager=%01", "force=x", "propagationPolicy=x", "gracePeriodSeconds=x", "gracePeriodSeconds=-1", "orphanDependents=x", "ignoreStoreReadErrorWithClusterBreakingPotential=true"} {
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
				at, media := one, "application/merge-patch+json"
				if method != "PATCH" {
					media = "application/json"
				}
				if method == "POST" {
					at = path
				}
				ask(method+" ?"+q, method, at+"?"+q, `{"metadata":{"name":"none"}}`, "Content-Type", media)
			}
		}
		for _, sub := range []string{"status", "scale", "log", "exec", "binding", "eviction", "token", "proxy", "approval", "finalize", "ephemeralcontainers", "resize", "x", "status/x"} {
			for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
				ask("sub "+sub+" "+method, method, one+"/"+sub, `{"metadata":{"name":"none"}}`, "Content-Type", "application/json")
			}
		}
		save()
	}
	for _, p := range []string{"/", "/x", "/api", "/api/", "/api/v1", "/api/v2", "/api/v1/x", "/apis", "/apis/apps", "/apis/apps/v2", "/apis/apps/v1/x", "/apis/x", "/apis/x/v1", "/apis/x/v1/y", "/healthz", "/healthz?verbose", "/livez", "/livez?verbose", "/livez/ping", "/livez/x",
		"/readyz", "/readyz?verbose", "/readyz?exclude=x", "/readyz/etcd", "/version", "/version/", "/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/x", "/metrics", "/metrics/slis", "/logs", "/debug/pprof/", "/debug/flags/v", "/.well-known/openid-configuration",
		"/openid/v1/jwks", "/flagz", "/statusz", "/configz", "/api/v1/watch/pods?timeoutSeconds=1", "/api/v1/namespaces/default", "/api/v1/namespaces/x/pods", "/api/v1/componentstatuses", "/api/v1/namespaces/default/status"} {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD", "OPTIONS"} {
			if strings.HasPrefix(p, "/metrics") && method != "GET" || method == "DELETE" && strings.HasPrefix(p, "/api/v1/namespaces/default") {
				continue
			}
			ask("path "+method, method, p, "")
		}
	}
}
