package scheme

import storagev1 "k8s.io/api/storage/v1"

func storageRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Verbs, r.Prefix = "storage.k8s.io", "v1", everyVerb, r.Name
		return r
	}
	return []*Resource{
		row[storagev1.CSIDriver, storagev1.CSIDriverList](in(Resource{
			Kind: "CSIDriver", Name: "csidrivers", Singular: "csidriver",
			Default: defaulter(defaultCSIDriver),
		})),
		row[storagev1.CSINode, storagev1.CSINodeList](in(Resource{
			Kind: "CSINode", Name: "csinodes", Singular: "csinode",
		})),
		row[storagev1.CSIStorageCapacity, storagev1.CSIStorageCapacityList](in(Resource{
			Kind: "CSIStorageCapacity", Name: "csistoragecapacities", Singular: "csistoragecapacity", Namespaced: true,
		})),
		row[storagev1.StorageClass, storagev1.StorageClassList](in(Resource{
			Kind: "StorageClass", Name: "storageclasses", Singular: "storageclass", ShortNames: []string{"sc"},
			Default: defaulter(defaultStorageClass),
		})),
		row[storagev1.VolumeAttachment, storagev1.VolumeAttachmentList](in(Resource{
			Kind: "VolumeAttachment", Name: "volumeattachments", Singular: "volumeattachment",
			Subresources: []Subresource{status()},
		})),
		row[storagev1.VolumeAttributesClass, storagev1.VolumeAttributesClassList](in(Resource{
			Kind: "VolumeAttributesClass", Name: "volumeattributesclasses", Singular: "volumeattributesclass", ShortNames: []string{"vac"},
		})),
	}
}
