package apiserver_test

import (
	"strings"
	"testing"
)

// TestAdminAccess: only namespaces that are trusted with it have claims of
// devices that others use.
func TestAdminAccess(t *testing.T) {
	c := start(t)
	a := c.raw(t, "admin", "system:masters")
	const (
		claim    = `{"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim","metadata":{"name":"a"},"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"gpu","adminAccess":ADMIN}}]}}}`
		template = `{"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaimTemplate","metadata":{"name":"a"},"spec":{"spec":{"devices":{"requests":[{"name":"z","exactly":{"deviceClassName":"gpu"}},{"name":"a","exactly":{"deviceClassName":"gpu","adminAccess":ADMIN}}]}}}}`
		refusal  = "adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"
	)
	a.do("POST", "/api/v1/namespaces", `{"metadata":{"name":"trusted","labels":{"resource.kubernetes.io/admin-access":"true"}}}`)
	for _, try := range []struct{ namespace, resource, body, want string }{
		{"default", "resourceclaims", strings.ReplaceAll(claim, "ADMIN", "true"), "spec.devices.requests[0]." + refusal},
		{"default", "resourceclaimtemplates", strings.ReplaceAll(template, "ADMIN", "true"), "spec.devices.requests[1]." + refusal},
		{"default", "resourceclaims", strings.ReplaceAll(claim, "ADMIN", "false"), ""},
		{"trusted", "resourceclaims", strings.ReplaceAll(claim, "ADMIN", "true"), ""},
		{"trusted", "resourceclaimtemplates", strings.ReplaceAll(template, "ADMIN", "true"), ""},
	} {
		res, body := a.do("POST", "/apis/resource.k8s.io/v1/namespaces/"+try.namespace+"/"+try.resource, try.body)
		if want := map[bool]int{true: 201, false: 422}[try.want == ""]; res.StatusCode != want || !strings.Contains(body, try.want) {
			t.Errorf("%s in %s: %d %s", try.resource, try.namespace, res.StatusCode, body)
		}
	}
}
