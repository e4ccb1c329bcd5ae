package apiserver

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// onlyOnce leaves out owners that are stated twice, word for word, and returns
// a warning if there were any. What a patch made of an object is found as late
// upstream as what admission makes of it.
func onlyOnce(m metav1.Object, patched bool) []string {
	owners := m.GetOwnerReferences()
	if len(owners) < 2 {
		return nil
	}
	kept := make([]metav1.OwnerReference, 0, len(owners))
	var twice []string
	for _, o := range owners {
		if slices.ContainsFunc(kept, func(k metav1.OwnerReference) bool { return k.UID == o.UID && reflect.DeepEqual(k, o) }) {
			if uid := string(o.UID); !slices.Contains(twice, uid) {
				twice = append(twice, uid)
			}
			continue
		}
		kept = append(kept, o)
	}
	if len(twice) == 0 {
		return nil
	}
	m.SetOwnerReferences(kept)
	late := ""
	if patched {
		late = " after mutating admission happens"
	}
	return []string{fmt.Sprintf(".metadata.ownerReferences contains duplicate entries%s; API server dedups owner references in 1.20+, "+
		"and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: %v", late, strings.Join(twice, ", "))}
}
