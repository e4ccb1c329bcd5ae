package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

var storageClass = show(
	columns(name,
		text("Provisioner", "Who makes volumes of the class."),
		text("ReclaimPolicy", "What happens to a volume when its claim is deleted."),
		text("VolumeBindingMode", "When a claim gets its volume."),
		text("AllowVolumeExpansion", "Whether volumes can grow."),
		age),
	func(now time.Time, c *storagev1.StorageClass) []any {
		shown := classOf(c, "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
		policy, mode, grow := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate, false
		if c.ReclaimPolicy != nil {
			policy = *c.ReclaimPolicy
		}
		if c.VolumeBindingMode != nil {
			mode = *c.VolumeBindingMode
		}
		if c.AllowVolumeExpansion != nil {
			grow = *c.AllowVolumeExpansion
		}
		return []any{shown, c.Provisioner, string(policy), string(mode), grow, since(now, c.CreationTimestamp)}
	},
)
