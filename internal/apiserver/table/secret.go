package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

var secret = show(
	columns(name, text("Type", "What the data is for."), text("Data", "How many keys there are."), age),
	func(now time.Time, s *corev1.Secret) []any {
		return []any{s.Name, string(s.Type), int64(len(s.Data)), since(now, s.CreationTimestamp)}
	},
)
