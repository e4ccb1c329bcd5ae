package validate

import (
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// volumes returns those that can be referred to.
func volumes(e *problems, list []corev1.Volume, pod string, at *field.Path) []corev1.Volume {
	good := list
	for i := range list {
		v, at, before := &list[i], at.Index(i), len(e.list)
		volumeSource(e, &v.VolumeSource, v.Name, at)
		if v.Ephemeral != nil && pod != "" && v.Name != "" {
			claim := pod + "-" + v.Name
			for _, text := range dnsSubdomain(claim) {
				e.invalid(at.Child("name"), v.Name, fmt.Sprintf("PVC name %q: %s", claim, text))
			}
		}
		e.checked(at, "name", v.Name, dnsLabel)
		if v.Name != "" && slices.ContainsFunc(list[:i], func(o corev1.Volume) bool { return o.Name == v.Name }) {
			e.add(field.Duplicate(at.Child("name"), v.Name))
		}
		if slices.ContainsFunc(list[:i], func(o corev1.Volume) bool { return o.Name == v.Name }) {
			continue // the first of the name is there
		}
		if len(e.list) > before {
			// One that is wrong is not there, and is said to be so once more
			// by who refers to it.
			if len(good) == len(list) {
				good = slices.Clone(list)
			}
			good = slices.DeleteFunc(good, func(o corev1.Volume) bool { return o.Name == v.Name })
		}
	}
	return good
}

// volumeSource judges where a volume comes from. Each source that is set has a
// row, and only the first may be.
func volumeSource(e *problems, s *corev1.VolumeSource, volume string, at *field.Path) {
	n := 0
	first := func(name string, set bool) bool {
		if !set {
			return false
		}
		if n++; n > 1 {
			e.forbidden(at.Child(name), "may not specify more than 1 volume type")
		}
		return n == 1
	}
	if first("emptyDir", s.EmptyDir != nil) {
		if l := s.EmptyDir.SizeLimit; l != nil && l.Sign() < 0 {
			e.forbidden(at.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity")
		}
	}
	if first("hostPath", s.HostPath != nil) {
		hostPath(e, s.HostPath, at.Child("hostPath"))
	}
	if first("gitRepo", s.GitRepo != nil) {
		at := at.Child("gitRepo")
		e.given(at, "repository", s.GitRepo.Repository)
		descending(e, s.GitRepo.Directory, at, "directory")
	}
	if first("gcePersistentDisk", s.GCEPersistentDisk != nil) {
		gceDisk(e, s.GCEPersistentDisk, at.Child("persistentDisk"))
	}
	if first("awsElasticBlockStore", s.AWSElasticBlockStore != nil) {
		at := at.Child("awsElasticBlockStore")
		e.given(at, "volumeID", s.AWSElasticBlockStore.VolumeID)
		diskPartition(e, s.AWSElasticBlockStore.Partition, at)
	}
	if first("secret", s.Secret != nil) {
		at := at.Child("secret")
		e.given(at, "secretName", s.Secret.SecretName)
		mode(e, s.Secret.DefaultMode, at, "defaultMode")
		keysToPaths(e, s.Secret.Items, at.Child("items"))
	}
	if first("nfs", s.NFS != nil) {
		nfs(e, s.NFS, at.Child("nfs"))
	}
	if first("iscsi", s.ISCSI != nil) {
		c := s.ISCSI
		secret := (c.DiscoveryCHAPAuth || c.SessionCHAPAuth) && c.SecretRef == nil
		iscsi(e, c.TargetPortal, c.IQN, c.Lun, c.InitiatorName, secret, at.Child("iscsi"))
	}
	if first("glusterfs", s.Glusterfs != nil) {
		e.given(at.Child("glusterfs"), "endpoints", s.Glusterfs.EndpointsName)
		e.given(at.Child("glusterfs"), "path", s.Glusterfs.Path)
	}
	if first("flocker", s.Flocker != nil) {
		if s.Flocker.DatasetName == "" && s.Flocker.DatasetUUID == "" {
			e.required(at.Child("flocker"), "one of datasetName and datasetUUID is required")
		}
		if strings.Contains(s.Flocker.DatasetName, "/") {
			e.invalid(at.Child("flocker", "datasetName"), s.Flocker.DatasetName, "must not contain '/'")
		}
	}
	if first("persistentVolumeClaim", s.PersistentVolumeClaim != nil) {
		e.given(at.Child("persistentVolumeClaim"), "claimName", s.PersistentVolumeClaim.ClaimName)
	}
	if first("rbd", s.RBD != nil) {
		if len(s.RBD.CephMonitors) == 0 {
			e.required(at.Child("rbd", "monitors"), "")
		}
		e.given(at.Child("rbd"), "image", s.RBD.RBDImage)
	}
	if first("cinder", s.Cinder != nil) {
		e.given(at.Child("cinder"), "volumeID", s.Cinder.VolumeID)
		if r := s.Cinder.SecretRef; r != nil {
			e.given(at.Child("cinder", "secretRef"), "name", r.Name)
		}
	}
	if first("cephFS", s.CephFS != nil) && len(s.CephFS.Monitors) == 0 {
		e.required(at.Child("cephfs", "monitors"), "")
	}
	if first("quobyte", s.Quobyte != nil) {
		quobyte(e, s.Quobyte, at.Child("quobyte"))
	}
	if first("downwarAPI", s.DownwardAPI != nil) { // as upstream spells it
		at := at.Child("downwardAPI")
		mode(e, s.DownwardAPI.DefaultMode, at, "defaultMode")
		downwardFiles(e, s.DownwardAPI.Items, at)
	}
	if first("fc", s.FC != nil) {
		fibreChannel(e, s.FC, at.Child("fc"))
	}
	if first("flexVolume", s.FlexVolume != nil) {
		e.given(at.Child("flexVolume"), "driver", s.FlexVolume.Driver)
	}
	if first("configMap", s.ConfigMap != nil) {
		at := at.Child("configMap")
		e.given(at, "name", s.ConfigMap.Name)
		mode(e, s.ConfigMap.DefaultMode, at, "defaultMode")
		keysToPaths(e, s.ConfigMap.Items, at.Child("items"))
	}
	if first("azureFile", s.AzureFile != nil) {
		e.given(at.Child("azureFile"), "secretName", s.AzureFile.SecretName)
		e.given(at.Child("azureFile"), "shareName", s.AzureFile.ShareName)
	}
	if first("vsphereVolume", s.VsphereVolume != nil) {
		e.given(at.Child("vsphereVolume"), "volumePath", s.VsphereVolume.VolumePath)
	}
	if first("photonPersistentDisk", s.PhotonPersistentDisk != nil) {
		e.given(at.Child("photonPersistentDisk"), "pdID", s.PhotonPersistentDisk.PdID)
	}
	if first("portworxVolume", s.PortworxVolume != nil) {
		e.given(at.Child("portworxVolume"), "volumeID", s.PortworxVolume.VolumeID)
	}
	if first("azureDisk", s.AzureDisk != nil) {
		azureDisk(e, s.AzureDisk, at.Child("azureDisk"))
	}
	if first("storageos", s.StorageOS != nil) {
		at := at.Child("storageos")
		e.checked(at, "volumeName", s.StorageOS.VolumeName, dnsLabel)
		if n := s.StorageOS.VolumeNamespace; n != "" {
			e.check(at, "volumeNamespace", n, dnsLabel)
		}
		if r := s.StorageOS.SecretRef; r != nil {
			e.given(at.Child("secretRef"), "name", r.Name)
		}
	}
	if first("projected", s.Projected != nil) {
		projected(e, s.Projected, at.Child("projected"))
	}
	if first("scaleIO", s.ScaleIO != nil) {
		e.given(at.Child("scaleIO"), "gateway", s.ScaleIO.Gateway)
		e.given(at.Child("scaleIO"), "system", s.ScaleIO.System)
		e.given(at.Child("scaleIO"), "volumeName", s.ScaleIO.VolumeName)
	}
	if first("csi", s.CSI != nil) {
		at := at.Child("csi")
		csiDriverName(e, s.CSI.Driver, at, "driver")
		if r := s.CSI.NodePublishSecretRef; r != nil {
			e.given(at.Child("nodePublishSecretRef"), "name", r.Name)
		}
	}
	if first("ephemeral", s.Ephemeral != nil) {
		at := at.Child("ephemeral", "volumeClaimTemplate")
		if t := s.Ephemeral.VolumeClaimTemplate; t == nil {
			e.required(at, "")
		} else {
			claimSpec(e, &t.Spec, at.Child("spec"))
		}
	}
	if first("image", s.Image != nil) {
		at := at.Child("image")
		e.given(at, "reference", s.Image.Reference)
		givenOneOf(e, at, "pullPolicy", s.Image.PullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
	}
	if n == 0 {
		e.required(at, "must specify a volume type")
	}
}

func gceDisk(e *problems, d *corev1.GCEPersistentDiskVolumeSource, at *field.Path) {
	e.given(at, "pdName", d.PDName)
	diskPartition(e, d.Partition, at)
}

func diskPartition(e *problems, n int32, at *field.Path) {
	if n < 0 || n > 255 {
		e.invalid(at.Child("partition"), n, validation.InclusiveRangeError(1, 255))
	}
}

// iscsi judges a target; secret tells that one is needed that is not there.
func iscsi(e *problems, portal, iqn string, lun int32, initiator *string, secret bool, at *field.Path) {
	const form = "must be valid format starting with iqn, eui, or naa"
	e.given(at, "targetPortal", portal)
	if e.given(at, "iqn", iqn) {
		if !strings.HasPrefix(iqn, "iqn") && !strings.HasPrefix(iqn, "eui") && !strings.HasPrefix(iqn, "naa") {
			e.invalid(at.Child("iqn"), iqn, form)
		}
	}
	if lun < 0 || lun > 255 {
		e.invalid(at.Child("lun"), lun, validation.InclusiveRangeError(0, 255))
	}
	if secret {
		e.required(at.Child("secretRef"), "")
	}
	if i := initiator; i != nil && !strings.HasPrefix(*i, "iqn") && !strings.HasPrefix(*i, "eui") && !strings.HasPrefix(*i, "naa") {
		e.invalid(at.Child("initiatorname"), *i, form)
	}
}

func quobyte(e *problems, q *corev1.QuobyteVolumeSource, at *field.Path) {
	const form = "must be a host:port pair or multiple pairs separated by commas"
	switch {
	case q.Registry == "":
		e.required(at.Child("registry"), form)
	case len(q.Tenant) >= 65:
		e.required(at.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters")
	default:
		for pair := range strings.SplitSeq(q.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				e.invalid(at.Child("registry"), q.Registry, form)
			}
		}
	}
	e.given(at, "volume", q.Volume)
}

func fibreChannel(e *problems, f *corev1.FCVolumeSource, at *field.Path) {
	const one = "must specify either targetWWNs or wwids, but not both"
	switch {
	case len(f.TargetWWNs) < 1 && len(f.WWIDs) < 1:
		e.required(at.Child("targetWWNs"), one)
	case len(f.TargetWWNs) > 0 && len(f.WWIDs) > 0:
		e.invalid(at.Child("targetWWNs"), f.TargetWWNs, one)
	}
	if len(f.TargetWWNs) == 0 {
		return
	}
	if f.Lun == nil {
		e.required(at.Child("lun"), "lun is required if targetWWNs is specified")
	} else if *f.Lun < 0 || *f.Lun > 255 {
		e.invalid(at.Child("lun"), f.Lun, validation.InclusiveRangeError(0, 255))
	}
}

func azureDisk(e *problems, d *corev1.AzureDiskVolumeSource, at *field.Path) {
	e.given(at, "diskName", d.DiskName)
	e.given(at, "diskURI", d.DataDiskURI)
	optionalOneOf(e, at, "cachingMode", d.CachingMode,
		corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)
	optionalOneOf(e, at, "kind", d.Kind, corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk)
	if d.Kind == nil {
		return
	}
	prefix, form := "https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	if *d.Kind == corev1.AzureManagedDisk {
		prefix, form = "/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	}
	if !strings.HasPrefix(d.DataDiskURI, prefix) {
		oneOf(e, at, "diskURI", d.DataDiskURI, form)
	}
}

func hostPath(e *problems, h *corev1.HostPathVolumeSource, at *field.Path) {
	if !e.given(at, "path", h.Path) {
		return
	}
	noBacksteps(e, h.Path, at, "path")
	optionalOneOf(e, at, "type", h.Type,
		corev1.HostPathUnset, corev1.HostPathBlockDev, corev1.HostPathCharDev, corev1.HostPathDirectory,
		corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)
}

func nfs(e *problems, n *corev1.NFSVolumeSource, at *field.Path) {
	e.given(at, "server", n.Server)
	e.given(at, "path", n.Path)
	if !path.IsAbs(n.Path) {
		e.invalid(at.Child("path"), n.Path, "must be an absolute path")
	}
}

// noBacksteps refuses a path that leads up.
func noBacksteps(e *problems, p string, at *field.Path, name string) {
	if strings.Contains(p, "..") && slices.Contains(strings.Split(strings.ReplaceAll(p, `\`, "/"), "/"), "..") {
		e.invalid(at.Child(name), p, "must not contain '..'")
	}
}

// descending refuses a path that leads out of where it starts.
func descending(e *problems, p string, at *field.Path, name string) {
	if path.IsAbs(p) {
		e.invalid(at.Child(name), p, "must be a relative path")
	}
	noBacksteps(e, p, at, name)
}

// nonReserved refuses a file's path where the files' own links are, too.
func nonReserved(e *problems, p string, at *field.Path) {
	descending(e, p, at, "path")
	if strings.HasPrefix(p, "..") && !strings.HasPrefix(p, "../") && p != ".." {
		e.invalid(at.Child("path"), p, "must not start with '..'")
	}
}

func mode(e *problems, m *int32, at *field.Path, name string) {
	if m != nil && (*m < 0 || *m > 0o777) {
		e.invalid(at.Child(name), *m, "must be a number between 0 and 0777 (octal), both inclusive")
	}
}

func keysToPaths(e *problems, items []corev1.KeyToPath, at *field.Path) {
	for i := range items {
		item, at := &items[i], at.Index(i)
		e.given(at, "key", item.Key)
		if e.given(at, "path", item.Path) {
			nonReserved(e, item.Path, at)
		}
		mode(e, item.Mode, at, "mode")
	}
}

func downwardFiles(e *problems, items []corev1.DownwardAPIVolumeFile, at *field.Path) {
	for i := range items {
		f := &items[i]
		if e.given(at, "path", f.Path) {
			nonReserved(e, f.Path, at)
		}
		switch {
		case f.FieldRef != nil:
			fieldRef(e, f.FieldRef, volumeFields, at.Child("fieldRef"))
			if f.ResourceFieldRef != nil {
				e.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
			}
		case f.ResourceFieldRef != nil:
			resourceFieldRef(e, f.ResourceFieldRef, true, at.Child("resourceFieldRef"))
		default:
			e.required(at, "one of fieldRef and resourceFieldRef is required")
		}
		mode(e, f.Mode, at, "mode")
	}
}

func projected(e *problems, p *corev1.ProjectedVolumeSource, at *field.Path) {
	sources := at
	mode(e, p.DefaultMode, at, "defaultMode")
	var seen []string
	unique := func(at *field.Path, name, p string) {
		if p == "" {
			return
		}
		if slices.Contains(seen, p) {
			e.invalid(at, name, "conflicting duplicate paths")
			return
		}
		seen = append(seen, p)
	}
	for i := range p.Sources {
		s, at, n := &p.Sources[i], at.Child("sources").Index(i), 0
		first := func(name string, set bool) bool {
			if !set {
				return false
			}
			if n++; n > 1 {
				e.forbidden(at.Child(name), "may not specify more than 1 volume type")
			}
			return n == 1
		}
		if first("secret", s.Secret != nil) {
			at := at.Child("secret")
			e.given(at, "name", s.Secret.Name)
			keysToPaths(e, s.Secret.Items, at.Child("items"))
			for _, item := range s.Secret.Items {
				unique(at, s.Secret.Name, item.Path)
			}
		}
		if first("configMap", s.ConfigMap != nil) {
			at := at.Child("configMap")
			e.given(at, "name", s.ConfigMap.Name)
			keysToPaths(e, s.ConfigMap.Items, at.Child("items"))
			for _, item := range s.ConfigMap.Items {
				unique(at, s.ConfigMap.Name, item.Path)
			}
		}
		if first("downwardAPI", s.DownwardAPI != nil) {
			at := at.Child("downwardAPI")
			downwardFiles(e, s.DownwardAPI.Items, at)
			for _, item := range s.DownwardAPI.Items {
				unique(at, item.Path, item.Path)
			}
		}
		if first("serviceAccountToken", s.ServiceAccountToken != nil) {
			at, t := at.Child("serviceAccountToken"), s.ServiceAccountToken
			tokenLife(e, t.ExpirationSeconds, at)
			if t.Path == "" {
				e.required(sources.Child("path"), "")
			} else {
				nonReserved(e, t.Path, at)
			}
		}
		if first("clusterTrustBundle", s.ClusterTrustBundle != nil) {
			trustBundle(e, s.ClusterTrustBundle, at.Child("clusterTrustBundle"))
			unique(at.Child("clusterTrustBundle"), s.ClusterTrustBundle.Path, s.ClusterTrustBundle.Path)
		}
		if first("podCertificate", s.PodCertificate != nil) {
			at, c := at.Child("podCertificate"), s.PodCertificate
			e.given(at, "signerName", c.SignerName)
			e.given(at, "keyType", c.KeyType)
			if c.CredentialBundlePath == "" && c.KeyPath == "" && c.CertificateChainPath == "" {
				e.required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")
			}
			for _, p := range []string{c.CredentialBundlePath, c.KeyPath, c.CertificateChainPath} {
				if p != "" {
					nonReserved(e, p, at)
				}
				unique(at, p, p)
			}
		}
	}
}

// tokenLife judges how long a token is to be good for, in seconds.
func tokenLife(e *problems, seconds *int64, at *field.Path) {
	switch {
	case seconds == nil:
		e.required(at.Child("expirationSeconds"), "")
	case *seconds < 10*60:
		e.invalid(at.Child("expirationSeconds"), *seconds, "may not specify a duration less than 10 minutes")
	case *seconds > 1<<32:
		e.invalid(at.Child("expirationSeconds"), *seconds, "may not specify a duration larger than 2^32 seconds")
	}
}

func trustBundle(e *problems, b *corev1.ClusterTrustBundleProjection, at *field.Path) {
	switch {
	case b.Name != nil && b.SignerName != nil:
		e.invalid(at, b, "only one of name and signerName may be used")
	case b.Name != nil:
		e.checked(at, "name", *b.Name, func(name string) []string { return dnsSubdomain(name[strings.LastIndexByte(name, ':')+1:]) })
		if b.LabelSelector != nil {
			e.invalid(at.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified")
		}
	case b.SignerName != nil:
		e.given(at, "signerName", *b.SignerName)
		selector(e, b.LabelSelector, at.Child("labelSelector"))
	default:
		e.required(at, "either name or signerName must be specified")
	}
	if e.given(at, "path", b.Path) {
		nonReserved(e, b.Path, at)
	}
}
