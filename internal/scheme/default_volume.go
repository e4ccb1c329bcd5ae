package scheme

import corev1 "k8s.io/api/core/v1"

// fileMode is that of files made from secrets, config maps and the like.
const fileMode int32 = 0o644

func defaultVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	s := &v.VolumeSource // of which there may be several, to be refused later
	if s.HostPath != nil {
		point(&s.HostPath.Type, corev1.HostPathUnset)
	}
	if s.Secret != nil {
		point(&s.Secret.DefaultMode, fileMode)
	}
	if s.ConfigMap != nil {
		point(&s.ConfigMap.DefaultMode, fileMode)
	}
	if s.DownwardAPI != nil {
		point(&s.DownwardAPI.DefaultMode, fileMode)
		defaultDownward(s.DownwardAPI.Items)
	}
	if s.Projected != nil {
		point(&s.Projected.DefaultMode, fileMode)
		for i := range s.Projected.Sources {
			src := &s.Projected.Sources[i]
			if src.DownwardAPI != nil {
				defaultDownward(src.DownwardAPI.Items)
			}
			if src.ServiceAccountToken != nil {
				point(&src.ServiceAccountToken.ExpirationSeconds, 60*60)
			}
		}
	}
	if s.Ephemeral != nil {
		if t := s.Ephemeral.VolumeClaimTemplate; t != nil {
			point(&t.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
			roundUp(t.Spec.Resources.Limits, t.Spec.Resources.Requests)
		}
	}
	if s.Image != nil {
		fill(&s.Image.PullPolicy, pullPolicy(s.Image.Reference))
	}
	if s.ISCSI != nil {
		fill(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		fill(&s.RBD.RBDPool, "rbd")
		fill(&s.RBD.RadosUser, "admin")
		fill(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.AzureDisk != nil {
		defaultAzureDisk(s.AzureDisk)
	}
	if s.ScaleIO != nil {
		fill(&s.ScaleIO.StorageMode, "ThinProvisioned")
		fill(&s.ScaleIO.FSType, "xfs")
	}
}

func defaultDownward(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].FieldRef != nil {
			fill(&items[i].FieldRef.APIVersion, "v1")
		}
	}
}

func defaultAzureDisk(d *corev1.AzureDiskVolumeSource) {
	point(&d.CachingMode, corev1.AzureDataDiskCachingReadWrite)
	point(&d.Kind, corev1.AzureSharedBlobDisk)
	point(&d.FSType, "ext4")
	point(&d.ReadOnly, false)
}
