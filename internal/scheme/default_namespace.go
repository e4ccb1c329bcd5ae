package scheme

import corev1 "k8s.io/api/core/v1"

// defaultNamespace labels a namespace with its name, so that selectors of
// namespaces can name one. The finalizer is set when it is created, by the API
// server, and so is not a default.
func defaultNamespace(n *corev1.Namespace) {
	fill(&n.Status.Phase, corev1.NamespaceActive)
	if n.Name == "" {
		return
	}
	if n.Labels == nil {
		n.Labels = make(map[string]string, 1)
	}
	n.Labels[corev1.LabelMetadataName] = n.Name
}
