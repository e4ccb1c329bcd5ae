package table

import (
	"time"

	nodev1 "k8s.io/api/node/v1"
)

var runtimeClass = show(
	columns(name, text("Handler", "How nodes run pods of the class."), age),
	func(now time.Time, c *nodev1.RuntimeClass) []any {
		return []any{c.Name, c.Handler, since(now, c.CreationTimestamp)}
	},
)
