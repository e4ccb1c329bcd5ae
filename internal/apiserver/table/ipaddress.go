package table

import (
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
)

var ipAddress = show(
	columns(name, text("ParentRef", "What has the address.")),
	func(_ time.Time, a *networkingv1.IPAddress) []any {
		ref := none
		if p := a.Spec.ParentRef; p != nil {
			var parts []string
			resource := p.Resource
			if p.Group != "" {
				resource += "." + p.Group
			}
			for _, part := range []string{resource, p.Namespace, p.Name} {
				if part != "" {
					parts = append(parts, part)
				}
			}
			ref = strings.Join(parts, "/")
		}
		return []any{a.Name, ref}
	},
)
