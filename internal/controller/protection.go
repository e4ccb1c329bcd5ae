package controller

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Protection is a finalizer that keeps an object while it is in use. Admission
// gives it to new objects; a controller takes it away once nobody uses one that
// is being deleted.
type Protection string

// Missing tells whether the object is to be given the finalizer: it was made
// before there was one, or somebody took it away.
func (p Protection) Missing(o metav1.Object) bool {
	return o.GetDeletionTimestamp() == nil && !slices.Contains(o.GetFinalizers(), string(p))
}

// Holds tells whether the object is being deleted, and kept by the finalizer.
func (p Protection) Holds(o metav1.Object) bool {
	return o.GetDeletionTimestamp() != nil && slices.Contains(o.GetFinalizers(), string(p))
}

// Add gives the object, which must be the caller's own, the finalizer.
func (p Protection) Add(o metav1.Object) {
	o.SetFinalizers(append(slices.Clip(o.GetFinalizers()), string(p)))
}

// Remove takes the finalizer from the object, which must be the caller's own.
func (p Protection) Remove(o metav1.Object) {
	o.SetFinalizers(slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(f string) bool { return f == string(p) }))
}
