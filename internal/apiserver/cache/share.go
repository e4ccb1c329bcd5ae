package cache

import (
	"bytes"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// share gives the object of a new entry those parts of another's metadata that
// are equal to its own. Labels and owners take much of what a small object
// takes, and are the same for all pods of a workload, all parts of a release,
// all states of one object. The object is nobody else's yet; the other's is
// not changed. Either may have no such metadata, and like may be nil.
func share(like, e *Entry) {
	if like == nil {
		return
	}
	from, to := metaOf(like), metaOf(e)
	if from == nil || to == nil {
		return
	}
	if len(to.Labels) > 0 && maps.Equal(to.Labels, from.Labels) {
		to.Labels = from.Labels
	}
	if len(to.Annotations) > 0 && maps.Equal(to.Annotations, from.Annotations) {
		to.Annotations = from.Annotations
	}
	if len(to.OwnerReferences) > 0 && slices.EqualFunc(to.OwnerReferences, from.OwnerReferences, sameOwner) {
		to.OwnerReferences = from.OwnerReferences
	}
	if len(to.Finalizers) > 0 && slices.Equal(to.Finalizers, from.Finalizers) {
		to.Finalizers = from.Finalizers
	}
	if len(to.ManagedFields) > 0 && slices.EqualFunc(to.ManagedFields, from.ManagedFields, sameManager) {
		to.ManagedFields = from.ManagedFields
	}
}

func metaOf(e *Entry) *metav1.ObjectMeta {
	a, ok := e.Object.(metav1.ObjectMetaAccessor)
	if !ok {
		return nil
	}
	m, _ := a.GetObjectMeta().(*metav1.ObjectMeta)
	return m
}

func sameOwner(a, b metav1.OwnerReference) bool {
	return a.UID == b.UID && a.Name == b.Name && a.Kind == b.Kind && a.APIVersion == b.APIVersion &&
		same(a.Controller, b.Controller) && same(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
}

func sameManager(a, b metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.Subresource == b.Subresource &&
		a.APIVersion == b.APIVersion && a.FieldsType == b.FieldsType && same(a.Time, b.Time) &&
		(a.FieldsV1 == b.FieldsV1 || a.FieldsV1 != nil && b.FieldsV1 != nil && bytes.Equal(a.FieldsV1.Raw, b.FieldsV1.Raw))
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }
