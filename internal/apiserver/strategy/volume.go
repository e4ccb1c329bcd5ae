package strategy

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func persistentVolume() *Strategy {
	s := halves(
		func(v *corev1.PersistentVolume) *corev1.PersistentVolumeSpec { return &v.Spec },
		func(v *corev1.PersistentVolume) *corev1.PersistentVolumeStatus { return &v.Status },
		false, nil)
	s.Create = func(o runtime.Object) {
		o.(*corev1.PersistentVolume).Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending}
	}
	return s
}

func persistentVolumeClaim() *Strategy {
	s := halves(
		func(v *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaimSpec { return &v.Spec },
		func(v *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaimStatus { return &v.Status },
		false, nil)
	s.Create = func(o runtime.Object) {
		o.(*corev1.PersistentVolumeClaim).Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
	}
	return s
}
