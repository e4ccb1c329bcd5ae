package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

var persistentVolume = show(
	columns(name,
		text("Capacity", "Size of the volume."),
		text("Access Modes", "Ways it can be mounted."),
		text("Reclaim Policy", "What happens to it when its claim is deleted."),
		text("Status", "Whether it is claimed."),
		text("Claim", "The claim it is bound to."),
		text("StorageClass", "Class of the volume."),
		text("VolumeAttributesClass", "Class of the volume's changeable attributes."),
		text("Reason", "Why it has its status."),
		age,
		wide(text("VolumeMode", "File system or block device."))),
	func(now time.Time, v *corev1.PersistentVolume) []any {
		claim := ""
		if r := v.Spec.ClaimRef; r != nil {
			claim = r.Namespace + "/" + r.Name
		}
		phase := string(v.Status.Phase)
		if v.DeletionTimestamp != nil {
			phase = "Terminating"
		}
		class := v.Spec.StorageClassName
		if c, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
			class = c
		}
		attributes, mode := unset, unset
		if c := v.Spec.VolumeAttributesClassName; c != nil {
			attributes = *c
		}
		if m := v.Spec.VolumeMode; m != nil {
			mode = string(*m)
		}
		size := v.Spec.Capacity[corev1.ResourceStorage]
		return []any{
			v.Name, size.String(), accessModes(v.Spec.AccessModes), string(v.Spec.PersistentVolumeReclaimPolicy), phase, claim,
			class, attributes, v.Status.Reason, since(now, v.CreationTimestamp), mode,
		}
	},
)
