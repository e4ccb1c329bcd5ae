package table

import (
	"strings"
	"time"

	storagev1 "k8s.io/api/storage/v1"
)

var csiDriver = show(
	columns(name,
		boolean("AttachRequired", "Whether volumes are attached before they are mounted."),
		boolean("PodInfoOnMount", "Whether the driver is told about the pod."),
		boolean("StorageCapacity", "Whether the driver tells how much room it has."),
		text("TokenRequests", "Audiences of the tokens the driver is given."),
		boolean("RequiresRepublish", "Whether mounting is repeated from time to time."),
		text("Modes", "Life cycles of volumes that the driver supports."),
		age),
	func(now time.Time, d *storagev1.CSIDriver) []any {
		is := func(b *bool, otherwise bool) bool {
			if b == nil {
				return otherwise
			}
			return *b
		}
		var audiences, modes []string
		for _, t := range d.Spec.TokenRequests {
			audiences = append(audiences, or(t.Audience, unset))
		}
		for _, m := range d.Spec.VolumeLifecycleModes {
			modes = append(modes, string(m))
		}
		return []any{
			d.Name, is(d.Spec.AttachRequired, true), is(d.Spec.PodInfoOnMount, false), is(d.Spec.StorageCapacity, false),
			or(strings.Join(audiences, ","), unset), is(d.Spec.RequiresRepublish, false),
			or(strings.Join(modes, ","), none), since(now, d.CreationTimestamp),
		}
	},
)
