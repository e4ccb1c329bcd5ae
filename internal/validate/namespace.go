package validate

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
)

var namespaceRules = &rules{ // never changed
	name:   apivalidation.ValidateNamespaceName,
	create: rule(namespaceFinalizers),
	subresources: subresources{
		"finalize": same(namespaceFinalizers),
		"status":   same(namespaceStatus),
	},
}

func namespaceFinalizers(e *problems, n *corev1.Namespace) {
	for _, f := range n.Spec.Finalizers {
		at := specPath.Child("finalizers")
		e.all(apivalidation.ValidateFinalizerName(string(f), at))
		if !strings.Contains(string(f), "/") && !slices.Contains(plainFinalizers, string(f)) {
			e.invalid(at, f, "name is neither a standard finalizer name nor is it fully qualified")
		}
	}
}

func namespaceStatus(e *problems, n *corev1.Namespace) {
	at := statusPath.Child("Phase") // as upstream writes it
	switch {
	case n.DeletionTimestamp == nil && n.Status.Phase != corev1.NamespaceActive:
		e.invalid(at, n.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")
	case n.DeletionTimestamp != nil && n.Status.Phase != corev1.NamespaceTerminating:
		e.invalid(at, n.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")
	}
}
