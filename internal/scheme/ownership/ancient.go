package ownership

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// capped puts the oldest updaters beyond the limit together, by version, so
// that an object that many write does not grow with them. Entries are in
// order; the slice is reused.
func (t *Tracker) capped(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	first := slices.IndexFunc(entries, func(e metav1.ManagedFieldsEntry) bool {
		return e.Operation == metav1.ManagedFieldsOperationUpdate
	})
	if first < 0 || len(entries)-first <= maxUpdaters {
		return entries
	}
	updaters := slices.Clone(entries[first:])
	slices.SortStableFunc(updaters, func(a, b metav1.ManagedFieldsEntry) int {
		switch {
		case isAncient(&a) == isAncient(&b):
			return 0
		case isAncient(&a):
			return -1
		}
		return 1
	})
	kept, over := entries[:first], len(updaters)-maxUpdaters
	buckets := map[string]int{} // by version, where the oldest of it is kept
	for _, e := range updaters {
		at, seen := buckets[e.APIVersion]
		if !seen {
			buckets[e.APIVersion] = len(kept)
		}
		if over == 0 || !seen {
			kept = append(kept, e)
			continue
		}
		t.merge(&kept[at], &e)
		over--
	}
	slices.SortStableFunc(kept, inOrder)
	return kept
}

func isAncient(e *metav1.ManagedFieldsEntry) bool {
	return e.Manager == ancientManager && e.Subresource == ""
}

// merge makes a bucket of an entry, with what a younger one owns and its time.
func (t *Tracker) merge(bucket, e *metav1.ManagedFieldsEntry) {
	both, _ := t.read(bucket.FieldsV1.Raw)
	more, _ := t.read(e.FieldsV1.Raw)
	both.union(more)
	bucket.Manager, bucket.Subresource, bucket.Time = ancientManager, "", e.Time
	bucket.FieldsV1 = t.written(both)
	t.free(both)
	t.free(more)
}
