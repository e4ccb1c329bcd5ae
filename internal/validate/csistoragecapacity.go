package validate

import (
	storagev1 "k8s.io/api/storage/v1"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var csiStorageCapacityRules = &rules{ // never changed
	create: rule(csiStorageCapacity),
	update: change(csiStorageCapacityUpdate),
}

func csiStorageCapacity(e *problems, c *storagev1.CSIStorageCapacity) {
	if s := c.NodeTopology; s != nil {
		e.all(unversioned.ValidateLabelSelector(s, unversioned.LabelSelectorValidationOptions{}, field.NewPath("nodeTopology")))
	}
	e.check(nil, "storageClassName", c.StorageClassName, dnsSubdomain)
	if q := c.Capacity; q != nil && q.Sign() < 0 {
		e.invalid(field.NewPath("capacity"), q.String(), "must be greater than or equal to 0")
	}
}

func csiStorageCapacityUpdate(e *problems, c, old *storagev1.CSIStorageCapacity) {
	csiStorageCapacity(e, c)
	e.immutable(nil, "nodeTopology", c.NodeTopology, sameSpec(c.NodeTopology, old.NodeTopology))
	e.immutable(nil, "storageClassName", c.StorageClassName, c.StorageClassName == old.StorageClassName)
}
