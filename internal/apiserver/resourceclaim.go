package apiserver

import (
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// adminAccess refuses claims, and templates of them, that ask for access to
// devices that others use, but in namespaces that are trusted with it (KEP-5018).
func adminAccess(o runtime.Object, namespace metav1.Object) field.ErrorList {
	if namespace != nil && namespace.GetLabels()[resourcev1.DRAAdminNamespaceLabelKey] == "true" {
		return nil
	}
	var requests []resourcev1.DeviceRequest
	switch c := o.(type) {
	case *resourcev1.ResourceClaim:
		requests = c.Spec.Devices.Requests
	case *resourcev1.ResourceClaimTemplate:
		requests = c.Spec.Spec.Devices.Requests
	}
	for i, r := range requests {
		if r.Exactly != nil && r.Exactly.AdminAccess != nil && *r.Exactly.AdminAccess {
			at := field.NewPath("spec", "devices", "requests").Index(i).Child("adminAccess")
			return field.ErrorList{field.Forbidden(at, fmt.Sprintf("admin access to devices requires the `%s: true` label on the containing namespace", resourcev1.DRAAdminNamespaceLabelKey))}
		}
	}
	return nil
}
