package apiserver_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"clipper/internal/apiserver"
	"clipper/internal/auth"
)

// panics counts what the server logs as its own fault.
type panics struct {
	slog.Handler
	n atomic.Int32
}

func (p *panics) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panicked") {
		p.n.Add(1)
	}
	return p.Handler.Handle(ctx, r)
}

func (p *panics) Enabled(context.Context, slog.Level) bool { return true }

// Whatever a client sends, the answer is one: no panic, nor an error that is
// the server's own.
func FuzzServe(f *testing.F) {
	logged := &panics{Handler: slog.DiscardHandler}
	c := start(f, func(c *apiserver.Config) { c.Logger = slog.New(logged) })
	ctx := auth.WithUser(f.Context(), &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}})
	const (
		js, yaml, pb = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
		table        = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
		maps         = "/api/v1/namespaces/default/configmaps"
		pods         = "/api/v1/namespaces/default/pods"
		webs         = "/apis/apps/v1/namespaces/default/deployments"
	)
	for _, x := range [][5]string{
		{"GET", "/", "", "", ""}, {"GET", "/api", "", pb, ""}, {"GET", "/apis", "", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", ""},
		{"GET", "/openapi/v3/apis/apps/v1?hash=x", "", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf", ""},
		{"GET", "/readyz?verbose&exclude=x", "", "", ""}, {"GET", "/metrics", "", "", ""}, {"GET", "/version/", "", "", ""},
		{"GET", maps + "?limit=1&labelSelector=a%20in%20(b)&fieldSelector=metadata.name!=x", "", table, ""},
		{"GET", maps + "?watch=1&resourceVersion=0&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", "", pb + ";stream=watch", ""},
		{"GET", maps + "?limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJ4In0", "", js, ""},
		{"GET", "/api/v1/watch/namespaces/default/pods/x", "", "", ""},
		{"POST", maps, js, js, `{"metadata":{"name":"a","labels":{"x":"y"}},"data":{"k":"v"},"binaryData":{"b":"AA=="}}`},
		{"POST", maps, yaml, js, "metadata: {generateName: a-, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u}]}"},
		{"POST", maps, pb, pb, "k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x05\x0a\x03\x0a\x01a"},
		{"POST", pods, js, js, `{"metadata":{"name":"p"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1e3"}}}]}}`},
		{"POST", pods + "/p/eviction", js, "", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"},"deleteOptions":{"gracePeriodSeconds":-1}}`},
		{"POST", pods + "/p/binding", js, "", `{"target":{"kind":"Node","name":"n"}}`},
		{"PUT", pods + "/p/status", js, "", `{"metadata":{"name":"p"},"status":{"phase":"Running"}}`},
		{"PATCH", pods + "/p/ephemeralcontainers", "application/strategic-merge-patch+json", "", `{"spec":{"ephemeralContainers":[{"name":"e","image":"i"}]}}`},
		{"PATCH", pods + "/p/resize", "application/merge-patch+json", "", `{"spec":{"containers":[{"name":"c","resources":{}}]}}`},
		{"GET", pods + "/p/log?follow=true&tailLines=-1", "", "", ""}, {"POST", pods + "/p/exec?command=a&stdin=1", "", "", ""},
		{"GET", pods + "/p/proxy/../../x", "", "", ""},
		{"POST", webs, js, js, `{"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`},
		{"PATCH", webs + "/d?fieldManager=m&force=true", "application/apply-patch+yaml", js, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 3}"},
		{"PATCH", webs + "/d/scale", "application/merge-patch+json", "", `{"spec":{"replicas":2}}`},
		{"PATCH", webs + "/d", "application/json-patch+json", "", `[{"op":"replace","path":"/spec/replicas","value":1}]`},
		{"DELETE", webs + "/d", js, "", `{"propagationPolicy":"Foreground","preconditions":{"uid":"x"}}`},
		{"DELETE", maps + "?labelSelector=x", yaml, "", "gracePeriodSeconds: 3"},
		{"POST", "/api/v1/namespaces/default/services", js, "", `{"metadata":{"name":"s"},"spec":{"type":"NodePort","clusterIP":"10.96.0.9","ports":[{"port":80,"nodePort":30000}]}}`},
		{"POST", "/api/v1/namespaces/default/serviceaccounts/default/token", js, "", `{"spec":{"audiences":["a"],"expirationSeconds":600}}`},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", js, "", `{"spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}`},
		{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", js, "", `{"spec":{"token":"a.b.c"}}`},
		{"POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", js, "", `{"metadata":{"name":"c"},"spec":{"request":"LS0tLS0=","signerName":"a.b/c","usages":["client auth"]}}`},
		{"PUT", "/api/v1/namespaces/default/finalize", js, "", `{"metadata":{"name":"default"},"spec":{"finalizers":[]}}`},
		{"POST", "/api/v1/nodes", js, "", `{"metadata":{"name":"n"},"spec":{"taints":[{"key":"a","effect":"NoSchedule"}]}}`},
	} {
		f.Add(x[0], x[1], x[2], x[3], []byte(x[4]))
	}
	f.Fuzz(func(t *testing.T, method, target, contentType, accept string, body []byte) {
		if !strings.HasPrefix(target, "/") || strings.Contains(target, " ") {
			target = "/" + strings.ReplaceAll(target, " ", "+")
		}
		// A watch ends when its client has had enough.
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, "https://server"+target, strings.NewReader(string(body)))
		if err != nil {
			return
		}
		r.RequestURI, r.RemoteAddr = target, "192.0.2.9:1"
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		w := httptest.NewRecorder()
		c.server.Handler().ServeHTTP(w, r)
		if n := logged.n.Swap(0); n > 0 {
			t.Errorf("%s %s: the handler panicked", method, target)
		}
		// As upstream's, an apply of fields that the schema lacks is one.
		apply := strings.HasPrefix(contentType, "application/apply-patch+yaml")
		if w.Code == http.StatusInternalServerError && ctx.Err() == nil && !apply {
			t.Errorf("%s %s: %s", method, target, w.Body)
		}
	})
}
