package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NamespaceLifecycle keeps objects out of namespaces that do not exist or are
// being deleted, and the cluster's own namespaces from deletion.
type NamespaceLifecycle struct{ objects Objects }

// Name implements Plugin.
func (*NamespaceLifecycle) Name() string { return "NamespaceLifecycle" }

// Admit implements Mutator; it changes nothing, but no other plugin should
// work for an object that cannot be.
func (p *NamespaceLifecycle) Admit(_ context.Context, a *Attributes) error {
	if a.Resource.GroupResource() == namespaces {
		if a.Operation == Delete && a.Subresource == "" {
			switch a.Name {
			case metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic:
				return forbidden(a, "this namespace may not be deleted")
			}
		}
		return nil
	}
	if !a.Resource.Namespaced || a.Namespace == "" || a.Operation == Delete || a.Operation == Connect {
		return nil
	}
	// A review asks about a namespace, it is not in one.
	if a.Resource.Name == "localsubjectaccessreviews" {
		return nil
	}
	ns, ok := p.objects.Object(namespaces, "", a.Namespace).(*corev1.Namespace)
	if !ok {
		return apierrors.NewNotFound(namespaces, a.Namespace)
	}
	if a.Operation != Create || ns.Status.Phase != corev1.NamespaceTerminating && ns.DeletionTimestamp == nil {
		return nil
	}
	err := forbidden(a, "unable to create new content in namespace %s because it is being terminated", a.Namespace)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: "namespace " + a.Namespace + " is being terminated",
		Field:   "metadata.namespace",
	})
	return err
}
