package admission

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// StorageObjectInUseProtection gives new volumes, claims and classes the
// finalizer that keeps them while they are in use; controllers take it away.
type StorageObjectInUseProtection struct{}

// protections are the finalizers by what they keep. Never changed.
var protections = map[schema.GroupResource]string{
	{Resource: "persistentvolumes"}: "kubernetes.io/pv-protection",
	claims:                          "kubernetes.io/pvc-protection",
	{Group: "storage.k8s.io", Resource: "volumeattributesclasses"}: "kubernetes.io/vac-protection",
}

// Name implements Plugin.
func (StorageObjectInUseProtection) Name() string { return "StorageObjectInUseProtection" }

// Admit implements Mutator.
func (StorageObjectInUseProtection) Admit(_ context.Context, a *Attributes) error {
	if a.Operation != Create || a.Subresource != "" {
		return nil
	}
	finalizer, ok := protections[a.Resource.GroupResource()]
	if !ok {
		return nil
	}
	o, ok := a.Object.(metav1.Object)
	if !ok || slices.Contains(o.GetFinalizers(), finalizer) {
		return nil
	}
	o.SetFinalizers(append(slices.Clip(o.GetFinalizers()), finalizer))
	return nil
}
