package validate

import (
	"clipper/internal/scheme"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var metadata = field.NewPath("metadata")

func createMeta(r *scheme.Resource, k *rules, obj runtime.Object) field.ErrorList {
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil
	}
	name := apivalidation.ValidateNameFunc(k.name)
	if name == nil {
		name = apivalidation.NameIsDNSSubdomain
	}
	return apivalidation.ValidateObjectMetaAccessor(m, r.Namespaced, name, metadata)
}

func updateMeta(obj, old runtime.Object) field.ErrorList {
	m, ok := obj.(metav1.Object)
	was, ok2 := old.(metav1.Object)
	if !ok || !ok2 {
		return nil
	}
	return apivalidation.ValidateObjectMetaAccessorUpdate(m, was, metadata)
}
