package validate

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var persistentVolumeRules = &rules{ // never changed
	create:   rule(persistentVolume),
	update:   change(persistentVolumeUpdate),
	warnings: warning(persistentVolumeWarnings),
}

func persistentVolume(e *problems, v *corev1.PersistentVolume) {
	s := &v.Spec
	modesOfVolume(e, s, specPath)
	capacity := specPath.Child("capacity")
	if len(s.Capacity) == 0 {
		e.required(capacity, "")
	}
	if _, ok := s.Capacity[corev1.ResourceStorage]; !ok || len(s.Capacity) > 1 {
		e.add(field.NotSupported(capacity, s.Capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	for n, q := range ordered(s.Capacity) {
		if q.Sign() < 0 {
			e.invalid(capacity.Key(string(n)), q.Value(), "must be a valid resource quantity")
		}
		if q.Sign() <= 0 {
			e.invalid(capacity.Key(string(n)), q.String(), "must be greater than zero")
		}
	}
	optionalReclaim(e, s.PersistentVolumeReclaimPolicy)
	if a := s.NodeAffinity; a != nil {
		if a.Required == nil {
			e.required(specPath.Child("nodeAffinity", "required"), "must specify required node constraints")
		} else {
			nodeSelector(e, a.Required, specPath.Child("nodeAffinity", "required"))
		}
	}
	persistentSource(e, s, specPath)
	if h := s.HostPath; h != nil && path.Clean(h.Path) == "/" && s.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		e.forbidden(specPath.Child("persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'")
	}
	if s.StorageClassName != "" {
		e.check(specPath, "storageClassName", s.StorageClassName, dnsSubdomain)
	}
	if c := s.VolumeAttributesClassName; c != nil {
		if *c == "" {
			e.required(specPath.Child("volumeAttributesClassName"), "an empty string is disallowed")
		} else {
			e.check(specPath, "volumeAttributesClassName", *c, dnsSubdomain)
		}
		if s.CSI == nil {
			e.required(specPath.Child("csi"), "has to be specified when using volumeAttributesClassName")
		}
	}
	optionalOneOf(e, specPath, "volumeMode", s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
}

// inlineVolume judges a volume that is told of where it is attached, and is no
// object of its own: it belongs to a driver, and to no claim or class.
func inlineVolume(e *problems, s *corev1.PersistentVolumeSpec, at *field.Path) {
	modesOfVolume(e, s, at)
	const inline = "may not be specified in the context of inline volumes"
	for _, of := range []struct {
		name string
		set  bool
		why  string
	}{
		{"claimRef", s.ClaimRef != nil, inline},
		{"capacity", len(s.Capacity) > 0, inline},
		{"persistentVolumeReclaimPolicy", s.PersistentVolumeReclaimPolicy != "" && s.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain, "may only be Retain in the context of inline volumes"},
		{"nodeAffinity", s.NodeAffinity != nil, inline},
		{"storageClassName", s.StorageClassName != "", inline},
		{"volumeMode", s.VolumeMode != nil && *s.VolumeMode != corev1.PersistentVolumeFilesystem, "may not specify volumeMode other than Filesystem in the context of inline volumes"},
	} {
		if of.set {
			e.forbidden(at.Child(of.name), of.why)
		}
	}
	if s.CSI == nil {
		e.required(at.Child("csi"), "has to be specified in the context of inline volumes")
	}
	persistentSource(e, s, at)
}

func modesOfVolume(e *problems, s *corev1.PersistentVolumeSpec, at *field.Path) {
	if len(s.AccessModes) == 0 {
		e.required(at.Child("accessModes"), "")
	}
	modes(e, s.AccessModes, at.Child("accessModes"))
}

func optionalReclaim(e *problems, p corev1.PersistentVolumeReclaimPolicy) {
	if p != "" {
		oneOf(e, specPath, "persistentVolumeReclaimPolicy", p,
			corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)
	}
}

// persistentSource judges where a volume is. Sources that pods have, too, are
// judged by the same rules.
func persistentSource(e *problems, s *corev1.PersistentVolumeSpec, at *field.Path) {
	n := 0
	first := func(name string, set bool) bool {
		if !set {
			return false
		}
		if n++; n > 1 && name != "flexVolume" {
			e.forbidden(at.Child(name), "may not specify more than 1 volume type")
		}
		return n == 1
	}
	if first("hostPath", s.HostPath != nil) {
		hostPath(e, s.HostPath, at.Child("hostPath"))
	}
	if first("nfs", s.NFS != nil) {
		nfs(e, s.NFS, at.Child("nfs"))
	}
	if first("local", s.Local != nil) {
		local := at.Child("local")
		if e.given(local, "path", s.Local.Path) {
			noBacksteps(e, s.Local.Path, local, "path")
		}
		if s.NodeAffinity == nil {
			e.required(at.Child("nodeAffinity"), "Local volume requires node affinity")
		}
	}
	if first("csi", s.CSI != nil) {
		csi := at.Child("csi")
		csiDriverName(e, s.CSI.Driver, csi, "driver")
		e.given(csi, "volumeHandle", s.CSI.VolumeHandle)
		for _, r := range []struct {
			name string
			ref  *corev1.SecretReference
		}{
			{"controllerPublishSecretRef", s.CSI.ControllerPublishSecretRef},
			{"controllerExpandSecretRef", s.CSI.ControllerExpandSecretRef},
			{"nodePublishSecretRef", s.CSI.NodePublishSecretRef},
			{"nodeExpandSecretRef", s.CSI.NodeExpandSecretRef},
		} {
			if r.ref != nil {
				e.given(csi.Child(r.name), "name", r.ref.Name)
				e.given(csi.Child(r.name), "namespace", r.ref.Namespace)
			}
		}
	}
	if first("iscsi", s.ISCSI != nil) {
		e.given(at.Child("iscsi"), "targetPortal", s.ISCSI.TargetPortal)
		e.given(at.Child("iscsi"), "iqn", s.ISCSI.IQN)
	}
	if first("fc", s.FC != nil) && len(s.FC.TargetWWNs)+len(s.FC.WWIDs) == 0 {
		e.required(at.Child("fc", "targetWWNs"), "must specify either targetWWNs or wwids, but not both")
	}
	if s.FlexVolume != nil {
		e.given(at.Child("flexVolume"), "driver", s.FlexVolume.Driver)
	}
	for _, other := range []struct {
		name string
		set  bool
	}{
		{"gcePersistentDisk", s.GCEPersistentDisk != nil}, {"awsElasticBlockStore", s.AWSElasticBlockStore != nil},
		{"glusterfs", s.Glusterfs != nil}, {"rbd", s.RBD != nil}, {"cinder", s.Cinder != nil}, {"cephFS", s.CephFS != nil},
		{"flocker", s.Flocker != nil}, {"flexVolume", s.FlexVolume != nil}, {"azureFile", s.AzureFile != nil},
		{"vsphereVolume", s.VsphereVolume != nil}, {"quobyte", s.Quobyte != nil}, {"azureDisk", s.AzureDisk != nil},
		{"photonPersistentDisk", s.PhotonPersistentDisk != nil}, {"portworxVolume", s.PortworxVolume != nil},
		{"scaleIO", s.ScaleIO != nil}, {"storageos", s.StorageOS != nil},
	} {
		first(other.name, other.set)
	}
	if n == 0 {
		e.required(at, "must specify a volume type")
	}
}

func persistentVolumeUpdate(e *problems, v, old *corev1.PersistentVolume) {
	persistentVolume(e, v)
	was := old.Spec.PersistentVolumeSource.DeepCopy()
	if was.CSI != nil && was.CSI.ControllerExpandSecretRef == nil && v.Spec.CSI != nil {
		// A secret may be named where none was.
		was.CSI.ControllerExpandSecretRef = v.Spec.CSI.ControllerExpandSecretRef
	}
	if !sameSpec(&v.Spec.PersistentVolumeSource, was) {
		e.forbidden(specPath.Child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation\n"+
			diff.Diff(&old.Spec.PersistentVolumeSource, &v.Spec.PersistentVolumeSource))
	}
	e.immutable(nil, "volumeMode", v.Spec.VolumeMode, sameSpec(v.Spec.VolumeMode, old.Spec.VolumeMode))
	if old.Spec.NodeAffinity != nil && !sameSpec(v.Spec.NodeAffinity, old.Spec.NodeAffinity) {
		e.invalid(specPath.Child("nodeAffinity"), v.Spec.NodeAffinity, "field is immutable, except for updating from beta label to GA")
	}
}

func persistentVolumeWarnings(v, _ *corev1.PersistentVolume) []string {
	var out []string
	if _, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		out = append(out, metadata.Child("annotations").Key(corev1.BetaStorageClassAnnotation).String()+": deprecated since v1.8; use \"storageClassName\" attribute instead")
	}
	if v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		out = append(out, specPath.Child("persistentVolumeReclaimPolicy").String()+": The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.")
	}
	return out
}

// provisionerName judges who makes volumes: a name in any case.
func provisionerName(name string) []string { return validation.IsQualifiedName(strings.ToLower(name)) }
