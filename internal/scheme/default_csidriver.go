package scheme

import storagev1 "k8s.io/api/storage/v1"

func defaultCSIDriver(d *storagev1.CSIDriver) {
	d.Spec.PreventPodSchedulingIfMissing = nil // its feature is off
	s := &d.Spec
	point(&s.AttachRequired, true)
	point(&s.PodInfoOnMount, false)
	point(&s.StorageCapacity, false)
	point(&s.FSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	point(&s.RequiresRepublish, false)
	point(&s.SELinuxMount, false)
	if len(s.VolumeLifecycleModes) == 0 {
		s.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
	}
}
