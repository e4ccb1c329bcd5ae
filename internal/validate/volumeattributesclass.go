package validate

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var volumeAttributesClassRules = &rules{ // never changed
	create: rule(volumeAttributesClass),
	update: change(volumeAttributesClassUpdate),
}

func volumeAttributesClass(e *problems, c *storagev1.VolumeAttributesClass) {
	if e.given(nil, "driverName", c.DriverName) {
		e.check(nil, "driverName", c.DriverName, provisionerName)
	}
	if len(c.Parameters) == 0 {
		e.required(field.NewPath("parameters"), "must contain at least one key/value pair")
		return
	}
	parameters(e, c.Parameters)
}

func volumeAttributesClassUpdate(e *problems, c, old *storagev1.VolumeAttributesClass) {
	volumeAttributesClass(e, c)
	if c.DriverName != old.DriverName {
		e.forbidden(field.NewPath("driverName"), "updates to driverName are forbidden.")
	}
	if !sameSpec(c.Parameters, old.Parameters) {
		e.forbidden(field.NewPath("parameters"), "updates to parameters are forbidden.")
	}
}
