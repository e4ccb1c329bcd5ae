package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

var namespace = show(
	columns(name, text("Status", "Whether the namespace is in use or being deleted."), age),
	func(now time.Time, n *corev1.Namespace) []any {
		return []any{n.Name, string(n.Status.Phase), since(now, n.CreationTimestamp)}
	},
)
