package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

var persistentVolumeClaim = show(
	columns(name,
		text("Status", "Whether the claim has a volume."),
		text("Volume", "The volume it is bound to."),
		text("Capacity", "Size of the volume."),
		text("Access Modes", "Ways it can be mounted."),
		text("StorageClass", "Class of the volume."),
		text("VolumeAttributesClass", "Class of the volume's changeable attributes."),
		age,
		wide(text("VolumeMode", "File system or block device."))),
	func(now time.Time, c *corev1.PersistentVolumeClaim) []any {
		phase := string(c.Status.Phase)
		if c.DeletionTimestamp != nil {
			phase = "Terminating"
		}
		size, modes := "", ""
		if c.Spec.VolumeName != "" {
			q := c.Status.Capacity[corev1.ResourceStorage]
			size, modes = q.String(), accessModes(c.Status.AccessModes)
		}
		class, attributes, mode := "", unset, unset
		if c.Spec.StorageClassName != nil {
			class = *c.Spec.StorageClassName
		}
		if old, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
			class = old
		}
		if a := c.Spec.VolumeAttributesClassName; a != nil {
			attributes = *a
		}
		if m := c.Spec.VolumeMode; m != nil {
			mode = string(*m)
		}
		return []any{c.Name, phase, c.Spec.VolumeName, size, modes, class, attributes, since(now, c.CreationTimestamp), mode}
	},
)
