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
		c := o.(*corev1.PersistentVolumeClaim)
		c.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
		claimSources(&c.Spec)
	}
	update := s.Update
	s.Update = func(o, was runtime.Object) {
		update(o, was)
		claimSources(&o.(*corev1.PersistentVolumeClaim).Spec)
	}
	return s
}

// claimSources lets the older field say what only it may, a claim or a snapshot,
// nobody another namespace, and each of the two fields what the other does
// (KEP-1495).
func claimSources(s *corev1.PersistentVolumeClaimSpec) {
	if d := s.DataSource; d != nil {
		group := ""
		if d.APIGroup != nil {
			group = *d.APIGroup
		}
		if !(group == "" && d.Kind == "PersistentVolumeClaim") && !(group == "snapshot.storage.k8s.io" && d.Kind == "VolumeSnapshot") {
			s.DataSource = nil
		}
	}
	if r := s.DataSourceRef; r != nil && r.Namespace != nil && *r.Namespace != "" {
		s.DataSourceRef = nil
	}
	switch d, r := s.DataSource, s.DataSourceRef; {
	case d != nil && r == nil:
		s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: d.APIGroup, Kind: d.Kind, Name: d.Name}
	case r != nil && d == nil:
		s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: r.APIGroup, Kind: r.Kind, Name: r.Name}
	}
}
