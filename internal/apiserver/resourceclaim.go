package apiserver

import (
	"fmt"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// adminAccess refuses claims, and templates of them, that ask for access to
// devices that others use, or are given it, but in namespaces that are trusted
// with it (KEP-5018). What has it may keep it.
func adminAccess(o, old runtime.Object, namespace metav1.Object) field.ErrorList {
	if namespace != nil && namespace.GetLabels()[resourcev1.DRAAdminNamespaceLabelKey] == "true" {
		return nil
	}
	refused := func(at *field.Path) field.ErrorList {
		return field.ErrorList{field.Forbidden(at.Child("adminAccess"), fmt.Sprintf("admin access to devices requires the `%s: true` label on the containing namespace", resourcev1.DRAAdminNamespaceLabelKey))}
	}
	var requests []resourcev1.DeviceRequest
	switch c := o.(type) {
	case *resourcev1.ResourceClaim:
		if old != nil {
			if i := given(c); i >= 0 && given(old.(*resourcev1.ResourceClaim)) < 0 {
				return refused(field.NewPath("status", "allocation", "devices", "results").Index(i))
			}
			return nil
		}
		requests = c.Spec.Devices.Requests
	case *resourcev1.ResourceClaimTemplate:
		requests = c.Spec.Spec.Devices.Requests
	}
	for i, r := range requests {
		if r.Exactly != nil && ptr.Deref(r.Exactly.AdminAccess, false) {
			return refused(field.NewPath("spec", "devices", "requests").Index(i))
		}
	}
	return nil
}

// given returns which device a claim was first given such access to, or -1.
func given(c *resourcev1.ResourceClaim) int {
	if c.Status.Allocation == nil {
		return -1
	}
	return slices.IndexFunc(c.Status.Allocation.Devices.Results, func(r resourcev1.DeviceRequestAllocationResult) bool { return ptr.Deref(r.AdminAccess, false) })
}
