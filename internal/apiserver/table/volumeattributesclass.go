package table

import (
	"time"

	storagev1 "k8s.io/api/storage/v1"
)

var volumeAttributesClass = show(
	columns(name, text("DriverName", "The driver whose volumes have the attributes."), age),
	func(now time.Time, c *storagev1.VolumeAttributesClass) []any {
		return []any{c.Name, c.DriverName, since(now, c.CreationTimestamp)}
	},
)
