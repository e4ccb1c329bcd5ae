package apiserver

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// deprecation is the warning that answers about a kind carry, as its Go type
// states it, or "" (KEP-1693).
func deprecation(obj runtime.Object) string {
	d, ok := obj.(interface {
		APILifecycleDeprecated() (major, minor int)
	})
	if !ok {
		return ""
	}
	major, minor := d.APILifecycleDeprecated()
	gvk := obj.GetObjectKind().GroupVersionKind()
	text := fmt.Sprintf("%s %s is deprecated in v%d.%d+", gvk.GroupVersion(), gvk.Kind, major, minor)
	if release := removal(obj); release != "" {
		text += fmt.Sprintf(", unavailable in v%s+", release)
	}
	if r, ok := obj.(interface {
		APILifecycleReplacement() schema.GroupVersionKind
	}); ok {
		to := r.APILifecycleReplacement()
		text += fmt.Sprintf("; use %s %s", to.GroupVersion(), to.Kind)
	}
	return text
}

// removal is the release that serves a kind no more, as its Go type states it,
// or "".
func removal(obj runtime.Object) string {
	r, ok := obj.(interface {
		APILifecycleRemoved() (major, minor int)
	})
	if !ok {
		return ""
	}
	major, minor := r.APILifecycleRemoved()
	return fmt.Sprintf("%d.%d", major, minor)
}
