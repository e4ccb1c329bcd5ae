package admission

import corev1 "k8s.io/api/core/v1"

// references tells which kinds of objects a pod's spec refers to. Whatever a
// node's pods refer to the node may read, so a node must not be the one who
// says it.
type references struct{ secrets, configMaps, claims, tokens bool }

func referencesOf(spec *corev1.PodSpec) (r references) {
	r.secrets = len(spec.ImagePullSecrets) > 0
	for _, list := range [...][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			r.container(list[i].Env, list[i].EnvFrom)
		}
	}
	for i := range spec.EphemeralContainers {
		r.container(spec.EphemeralContainers[i].Env, spec.EphemeralContainers[i].EnvFrom)
	}
	for i := range spec.Volumes {
		r.volume(&spec.Volumes[i])
	}
	return r
}

func (r *references) container(env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for i := range env {
		if v := env[i].ValueFrom; v != nil {
			r.secrets = r.secrets || v.SecretKeyRef != nil
			r.configMaps = r.configMaps || v.ConfigMapKeyRef != nil
		}
	}
	for i := range from {
		r.secrets = r.secrets || from[i].SecretRef != nil
		r.configMaps = r.configMaps || from[i].ConfigMapRef != nil
	}
}

func (r *references) volume(v *corev1.Volume) {
	switch {
	case v.Secret != nil,
		v.CSI != nil && v.CSI.NodePublishSecretRef != nil,
		// The older types, each with a secret of its own.
		v.AzureFile != nil,
		v.CephFS != nil && v.CephFS.SecretRef != nil,
		v.Cinder != nil && v.Cinder.SecretRef != nil,
		v.FlexVolume != nil && v.FlexVolume.SecretRef != nil,
		v.ISCSI != nil && v.ISCSI.SecretRef != nil,
		v.RBD != nil && v.RBD.SecretRef != nil,
		v.ScaleIO != nil,
		v.StorageOS != nil && v.StorageOS.SecretRef != nil:
		r.secrets = true
	case v.ConfigMap != nil:
		r.configMaps = true
	case v.PersistentVolumeClaim != nil, v.Ephemeral != nil:
		r.claims = true
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			s := &v.Projected.Sources[i]
			r.secrets = r.secrets || s.Secret != nil
			r.configMaps = r.configMaps || s.ConfigMap != nil
			r.tokens = r.tokens || s.ServiceAccountToken != nil
		}
	}
}
