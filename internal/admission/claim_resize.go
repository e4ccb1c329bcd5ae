package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// PersistentVolumeClaimResize lets a claim grow only where its class can.
type PersistentVolumeClaimResize struct{ objects Objects }

// Name implements Plugin.
func (*PersistentVolumeClaimResize) Name() string { return "PersistentVolumeClaimResize" }

// Validate implements Validator.
func (p *PersistentVolumeClaimResize) Validate(_ context.Context, a *Attributes) error {
	if a.Resource.GroupResource() != claims || a.Subresource != "" || a.Operation != Update {
		return nil
	}
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	old, was := a.Old.(*corev1.PersistentVolumeClaim)
	if !ok || !was {
		return nil
	}
	size, before := claim.Spec.Resources.Requests[corev1.ResourceStorage], old.Spec.Resources.Requests[corev1.ResourceStorage]
	if size.Cmp(before) <= 0 {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		return forbidden(a, "Only bound persistent volume claims can be expanded")
	}
	if name := claim.Spec.StorageClassName; name != nil && *name != "" {
		class, ok := p.objects.Object(storageClasses, "", *name).(*storagev1.StorageClass)
		if ok && class.AllowVolumeExpansion != nil && *class.AllowVolumeExpansion {
			return nil
		}
	}
	return forbidden(a, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
}
