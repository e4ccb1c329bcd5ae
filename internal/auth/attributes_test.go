package auth

import "testing"

// TestUpgradeVerb: a right to read is no right to run something, by any way.
func TestUpgradeVerb(t *testing.T) {
	for _, c := range []struct {
		resource, subresource, verb string
		upgrade                     bool
		want                        string
	}{
		{"pods", "exec", "get", true, "create"},
		{"pods", "exec", "get", false, "create"},
		{"pods", "attach", "get", true, "create"},
		{"pods", "portforward", "get", true, "create"},
		{"pods", "log", "get", true, "get"},
		{"pods", "proxy", "get", true, "get"},
		{"services", "proxy", "get", true, "get"},
		{"nodes", "proxy", "get", false, "get"},
		{"nodes", "proxy", "get", true, "create"},
		{"nodes", "proxy", "delete", true, "delete"},
		{"pods", "exec", "create", true, "create"},
	} {
		if got := UpgradeVerb(c.resource, c.subresource, c.verb, c.upgrade); got != c.want {
			t.Errorf("%s %s/%s, upgrade %v: %s, want %s", c.verb, c.resource, c.subresource, c.upgrade, got, c.want)
		}
	}
}
