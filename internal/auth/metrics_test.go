package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Tokens are counted as known or not, as good or not, and a pod's as stale once
// it should have been read again.
func TestTokensAreCounted(t *testing.T) {
	c := newTokens(t)
	token := c.sign(t, Binding{Pod: c.pod}, nil, podTokenLife)
	for range 3 {
		if _, _, err := c.Verify(token, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.clock.SetTime(birth.Add(podTokenLife + time.Minute))
	if _, _, err := c.Verify(token, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Verify(token[:len(token)-4]+"AAAA", nil); err == nil {
		t.Fatal("a forged token is good")
	}
	if err := testutil.CollectAndCompare(c.Verifier.Collector(), strings.NewReader(`
# HELP authentication_token_cache_fetch_total Number of tokens that were verified since they were not known, by the result.
# TYPE authentication_token_cache_fetch_total counter
authentication_token_cache_fetch_total{status="error"} 1
authentication_token_cache_fetch_total{status="ok"} 1
# HELP authentication_token_cache_request_total Number of tokens that were looked up, by whether they were known (hit or miss).
# TYPE authentication_token_cache_request_total counter
authentication_token_cache_request_total{status="hit"} 3
authentication_token_cache_request_total{status="miss"} 2
# HELP serviceaccount_stale_tokens_total Cumulative stale projected service account tokens used
# TYPE serviceaccount_stale_tokens_total counter
serviceaccount_stale_tokens_total 1
# HELP serviceaccount_valid_tokens_total Cumulative valid projected service account tokens used
# TYPE serviceaccount_valid_tokens_total counter
serviceaccount_valid_tokens_total 3
`)); err != nil {
		t.Error(err)
	}
}

// What is allowed is counted by who allowed it, and a request that nobody allows
// is not.
func TestDecisionsAreCounted(t *testing.T) {
	c := testCluster()
	rules := NewRules(c, c)
	ask := func(name string, a Attributes, groups ...string) bool {
		a.User = &user.DefaultInfo{Name: name, Groups: append(groups, Authenticated)}
		ok, _, err := rules.Authorize(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	get := Attributes{Verb: "get", Resource: "pods", APIVersion: "v1", Namespace: "ns", Name: "mine"}
	if !ask("system:node:n1", get, Nodes) || ask("jane", get) || !ask("admin", get, Masters) || !ask("jane", Attributes{Verb: "get", Path: "/version"}) {
		t.Fatal("other decisions than expected")
	}
	if err := testutil.CollectAndCompare(rules.Collector(), strings.NewReader(`
# HELP apiserver_authorization_decisions_total Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.
# TYPE apiserver_authorization_decisions_total counter
apiserver_authorization_decisions_total{decision="allowed",name="node",type="Node"} 1
apiserver_authorization_decisions_total{decision="allowed",name="rbac",type="RBAC"} 1
`)); err != nil {
		t.Error(err)
	}
}
