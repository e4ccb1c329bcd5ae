package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// DefaultStorageClass gives a claim that names no class the default one.
type DefaultStorageClass struct{ objects Objects }

// Name implements Plugin.
func (*DefaultStorageClass) Name() string { return "DefaultStorageClass" }

// Admit implements Mutator.
func (p *DefaultStorageClass) Admit(_ context.Context, a *Attributes) error {
	if a.Resource.GroupResource() != claims || a.Subresource != "" || a.Operation != Create {
		return nil
	}
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || claim.Spec.StorageClassName != nil || claim.Annotations[corev1.BetaStorageClassAnnotation] != "" {
		return nil
	}
	class := newestDefault[*storagev1.StorageClass](p.objects, storageClasses, "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
	if class != nil {
		name := class.GetName()
		claim.Spec.StorageClassName = &name
	}
	return nil
}

// newestDefault returns the object that one of the annotations marks as the
// default. Of several the newest counts, and of those of one age the first by
// name.
func newestDefault[T metav1.Object](objects Objects, of schema.GroupResource, annotations ...string) metav1.Object {
	var found metav1.Object
	for _, o := range objects.Objects(of, "") {
		c, ok := o.(T)
		if !ok || !marked(c, annotations) {
			continue
		}
		if found == nil {
			found = c
			continue
		}
		mine, best := c.GetCreationTimestamp(), found.GetCreationTimestamp()
		if best.Before(&mine) || best.Equal(&mine) && c.GetName() < found.GetName() {
			found = c
		}
	}
	return found
}

func marked(o metav1.Object, annotations []string) bool {
	for _, a := range annotations {
		if o.GetAnnotations()[a] == "true" {
			return true
		}
	}
	return false
}
