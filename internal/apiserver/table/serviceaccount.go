package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

var serviceAccount = show(
	columns(name, age),
	func(now time.Time, s *corev1.ServiceAccount) []any {
		return []any{s.Name, since(now, s.CreationTimestamp)}
	},
)
