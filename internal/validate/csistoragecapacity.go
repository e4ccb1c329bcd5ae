package validate

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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
	for _, q := range []struct {
		name  string
		value *resource.Quantity
	}{{"capacity", c.Capacity}, {"maximumVolumeSize", c.MaximumVolumeSize}} {
		if q.value != nil && q.value.Sign() < 0 {
			e.invalid(field.NewPath(q.name), q.value.String(), "must be greater than or equal to 0")
		}
	}
}

func csiStorageCapacityUpdate(e *problems, c, old *storagev1.CSIStorageCapacity) {
	csiStorageCapacity(e, c)
	e.immutable(nil, "nodeTopology", c.NodeTopology, sameSpec(c.NodeTopology, old.NodeTopology))
	e.immutable(nil, "storageClassName", c.StorageClassName, c.StorageClassName == old.StorageClassName)
}
