package namespace

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditions returns have with what was found, or nil if nothing changed. A
// namespace that was emptied in one pass gets none.
func (f *found) conditions(have []corev1.NamespaceCondition, now metav1.Time) []corev1.NamespaceCondition {
	var remaining []string
	finalizers := map[string]int{}
	for _, r := range f.remaining {
		remaining = append(remaining, fmt.Sprintf("%s.%s has %d resource instances", r.gvr.Resource, r.gvr.Group, r.count))
		for name, n := range r.finalizers {
			finalizers[name] += n
		}
	}
	var held []string
	for _, name := range slices.Sorted(maps.Keys(finalizers)) {
		held = append(held, fmt.Sprintf("%s in %d resource instances", name, finalizers[name]))
	}
	rows := []struct {
		kind                corev1.NamespaceConditionType
		bad                 bool
		reason, message     string
		goodReason, allGood string
	}{
		{corev1.NamespaceDeletionDiscoveryFailure, len(f.discovery) > 0,
			"DiscoveryFailed", fmt.Sprintf("Discovery failed for some groups, %d failing: %v", len(f.discovery), errors.Join(f.discovery...)),
			"ResourcesDiscovered", "All resources successfully discovered"},
		{corev1.NamespaceDeletionGVParsingFailure, len(f.parse) > 0,
			"GroupVersionParsingFailed", fmt.Sprintf("%d unparseable, %v", len(f.parse), errors.Join(f.parse...)),
			"ParsedGroupVersions", "All legacy kube types successfully parsed"},
		{corev1.NamespaceDeletionContentFailure, len(f.failures) > 0,
			"ContentDeletionFailed", fmt.Sprintf("Failed to delete all resource types, %d remaining: %v", len(f.failures), errors.Join(f.failures...)),
			"ContentDeleted", "All content successfully deleted, may be waiting on finalization"},
		{corev1.NamespaceContentRemaining, len(remaining) > 0,
			"SomeResourcesRemain", "Some resources are remaining: " + strings.Join(remaining, ", "),
			"ContentRemoved", "All content successfully removed"},
		{corev1.NamespaceFinalizersRemaining, len(held) > 0,
			"SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: " + strings.Join(held, ", "),
			"ContentHasNoFinalizers", "All content-preserving finalizers finished"},
	}
	out, changed := slices.Clone(have), false
	bad := false
	for _, r := range rows {
		c := corev1.NamespaceCondition{Type: r.kind, Status: corev1.ConditionFalse, Reason: r.goodReason, Message: r.allGood, LastTransitionTime: now}
		if r.bad {
			bad = true
			c.Status, c.Reason, c.Message = corev1.ConditionTrue, r.reason, r.message
		}
		i := slices.IndexFunc(out, func(o corev1.NamespaceCondition) bool { return o.Type == r.kind })
		switch {
		case i < 0:
			out, changed = append(out, c), true
		case out[i].Status != c.Status || out[i].Reason != c.Reason || out[i].Message != c.Message:
			if out[i].Status == c.Status {
				c.LastTransitionTime = out[i].LastTransitionTime
			}
			out[i], changed = c, true
		}
	}
	if !changed || !bad && len(have) == 0 {
		return nil
	}
	return out
}
