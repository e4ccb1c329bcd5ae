package system

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProfiles(t *testing.T) {
	for path, holds := range map[string]string{
		"/debug/pprof/":                     "heap",
		"/debug/pprof/heap?debug=1":         "heap profile",
		"/debug/pprof/goroutine?debug=1":    "goroutine profile",
		"/debug/pprof/trace?seconds=0.0001": "go 1.",
	} {
		w := httptest.NewRecorder()
		profiles().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), holds) {
			t.Errorf("%s: %d, without %q", path, w.Code, holds)
		}
	}
}
