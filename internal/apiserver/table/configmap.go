package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

var configMap = show(
	columns(name, text("Data", "How many keys there are."), age),
	func(now time.Time, c *corev1.ConfigMap) []any {
		return []any{c.Name, int64(len(c.Data) + len(c.BinaryData)), since(now, c.CreationTimestamp)}
	},
)
