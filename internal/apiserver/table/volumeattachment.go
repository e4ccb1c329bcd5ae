package table

import (
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var volumeAttachment = show(
	columns(name,
		metav1.TableColumnDefinition{Name: "Attacher", Type: "string", Format: "name", Description: "The driver that attaches the volume."},
		text("PV", "The volume."),
		text("Node", "Where it is attached."),
		boolean("Attached", "Whether it is attached by now."),
		age),
	func(now time.Time, v *storagev1.VolumeAttachment) []any {
		volume := ""
		if n := v.Spec.Source.PersistentVolumeName; n != nil {
			volume = *n
		}
		return []any{v.Name, v.Spec.Attacher, volume, v.Spec.NodeName, v.Status.Attached, since(now, v.CreationTimestamp)}
	},
)
