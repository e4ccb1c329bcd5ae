package table

import (
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
)

var serviceCIDR = show(
	columns(name, text("CIDRs", "The ranges that Services get their addresses from."), age),
	func(now time.Time, c *networkingv1.ServiceCIDR) []any {
		return []any{c.Name, strings.Join(c.Spec.CIDRs, ","), since(now, c.CreationTimestamp)}
	},
)
