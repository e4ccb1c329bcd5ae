package table

import (
	"time"

	storagev1 "k8s.io/api/storage/v1"
)

var csiNode = show(
	columns(name, integer("Drivers", "How many drivers the node has."), age),
	func(now time.Time, n *storagev1.CSINode) []any {
		return []any{n.Name, int64(len(n.Spec.Drivers)), since(now, n.CreationTimestamp)}
	},
)
