package table

import (
	"strings"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
)

var deviceClass = show(columns(name, age), func(now time.Time, c *resourcev1.DeviceClass) []any {
	return []any{c.Name, since(now, c.CreationTimestamp)}
})

var resourceClaim = show(
	columns(name, text("State", "What became of the claim so far."), age),
	func(now time.Time, c *resourcev1.ResourceClaim) []any {
		var states []string
		if c.DeletionTimestamp != nil {
			states = append(states, "deleted")
		}
		if c.Status.Allocation == nil {
			if c.DeletionTimestamp == nil {
				states = append(states, "pending")
			}
		} else {
			states = append(states, "allocated")
			if len(c.Status.ReservedFor) > 0 {
				states = append(states, "reserved")
			}
		}
		return []any{c.Name, strings.Join(states, ","), since(now, c.CreationTimestamp)}
	},
)

var resourceClaimTemplate = show(columns(name, age), func(now time.Time, t *resourcev1.ResourceClaimTemplate) []any {
	return []any{t.Name, since(now, t.CreationTimestamp)}
})

var resourceSlice = show(
	columns(name,
		text("Node", "The node that has the devices."),
		text("Driver", "The driver of the devices."),
		text("Pool", "The pool that the slice is part of."),
		age),
	func(now time.Time, s *resourcev1.ResourceSlice) []any {
		node := ""
		if s.Spec.NodeName != nil {
			node = *s.Spec.NodeName
		}
		return []any{s.Name, node, s.Spec.Driver, s.Spec.Pool.Name, since(now, s.CreationTimestamp)}
	},
)
