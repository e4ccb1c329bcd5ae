package apiserver_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"clipper/internal/apiserver"
	"clipper/internal/auth"

	"k8s.io/apiserver/pkg/authentication/user"
)

// gate lets requests through one by one.
type gate struct {
	masters
	entered chan struct{}
	open    chan struct{}
}

func (g gate) Authorize(ctx context.Context, a auth.Attributes) (bool, string, error) {
	if a.User.GetName() == "bob" {
		g.entered <- struct{}{}
		<-g.open
		return true, "", nil
	}
	return g.masters.Authorize(ctx, a)
}

func TestTooManyRequests(t *testing.T) {
	g := gate{entered: make(chan struct{}), open: make(chan struct{})}
	c := start(t, func(c *apiserver.Config) { c.Authorizer = g })
	bob := c.raw(t, "bob")
	const most = 200
	post := func() *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "POST", bob.base+"/api/v1/namespaces/default/configmaps",
			strings.NewReader(`{"metadata":{"generateName":"m-"}}`))
		if err != nil {
			t.Error(err)
			return nil
		}
		res, err := bob.http.Do(req)
		if err != nil {
			t.Error(err)
			return nil
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res
	}
	var wg sync.WaitGroup
	for range most {
		wg.Go(func() {
			if res := post(); res != nil && res.StatusCode != http.StatusCreated {
				t.Error(res.Status)
			}
		})
	}
	for range most {
		<-g.entered
	}
	if res := post(); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" {
		t.Errorf("%+v", res)
	}
	// The cluster's masters get in all the same.
	admin := c.raw(t, "admin", "system:masters")
	if res, body := admin.do("POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"m"}}`); res.StatusCode != http.StatusCreated {
		t.Error(body)
	}
	// So do nodes, whose room is their own, and who is inside the process; that
	// this authorizer forbids it shows that they were heard.
	node := c.raw(t, "system:node:n", "system:nodes")
	if res, body := node.do("POST", "/api/v1/namespaces/default/configmaps", `{}`); res.StatusCode != http.StatusForbidden {
		t.Error(res.Status, body)
	}
	own := auth.WithUser(t.Context(), &user.DefaultInfo{Name: "system:kube-scheduler"})
	w := httptest.NewRecorder()
	c.server.Handler().ServeHTTP(w, httptest.NewRequestWithContext(own, "POST", "/api/v1/namespaces/default/configmaps", strings.NewReader(`{}`)))
	if w.Code != http.StatusForbidden {
		t.Error(w.Code, w.Body)
	}
	close(g.open)
	wg.Wait()
}
