package validate

import (
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
	for i, f := range n.Spec.Finalizers {
		e.all(apivalidation.ValidateFinalizerName(string(f), specPath.Child("finalizers").Index(i)))
	}
}

func namespaceStatus(e *problems, n *corev1.Namespace) {
	at := statusPath.Child("phase")
	switch {
	case n.DeletionTimestamp == nil && n.Status.Phase != corev1.NamespaceActive:
		e.invalid(at, n.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")
	case n.DeletionTimestamp != nil && n.Status.Phase != corev1.NamespaceTerminating:
		e.invalid(at, n.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")
	}
}
