package validate

import (
	"maps"
	"slices"
	"strings"

	"clipper/internal/scheme"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var metadata = field.NewPath("metadata")

func createMeta(r *scheme.Resource, k *rules, obj runtime.Object) field.ErrorList {
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil
	}
	return append(namedMeta(r, k, m), finalizers(r, m)...)
}

func namedMeta(r *scheme.Resource, k *rules, m metav1.Object) field.ErrorList {
	name := apivalidation.ValidateNameFunc(k.name)
	if name == nil {
		name = apivalidation.NameIsDNSSubdomain
	}
	return apivalidation.ValidateObjectMetaAccessor(m, r.Namespaced, name, metadata)
}

// plainFinalizers are those without a domain.
var plainFinalizers = []string{string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents} // never changed

// finalizers refuses, of the kinds that are upstream's core's, names that are
// nobody's.
func finalizers(r *scheme.Resource, m metav1.Object) (errs field.ErrorList) {
	switch r.Group {
	case "apiextensions.k8s.io", "apiregistration.k8s.io", "admissionregistration.k8s.io", "coordination.k8s.io", "node.k8s.io", "policy":
		return nil
	}
	if r.Kind == "Event" && r.Group == "" {
		return nil
	}
	for i, f := range m.GetFinalizers() {
		if !strings.Contains(f, "/") && !slices.Contains(plainFinalizers, f) {
			errs = append(errs, field.Invalid(metadata.Child("finalizers").Index(i), f, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

// updateMeta judges the metadata of what replaces old; k is nil where the
// kind's own rules do not look at it.
func updateMeta(r *scheme.Resource, k *rules, obj, old runtime.Object) field.ErrorList {
	m, ok := obj.(metav1.Object)
	was, ok2 := old.(metav1.Object)
	if !ok || !ok2 {
		return nil
	}
	if metaStays(m, was) {
		return metavalidation.ValidateManagedFields(m.GetManagedFields(), metadata.Child("managedFields"))
	}
	return changedMeta(r, k, m, was)
}

func changedMeta(r *scheme.Resource, k *rules, m, was metav1.Object) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaAccessor(m, r.Namespaced, path.ValidatePathSegmentName, metadata)
	// Upstream looks at the change for all kinds and for each once more, and says it twice.
	errs = append(errs, apivalidation.ValidateObjectMetaAccessorUpdate(m, was, metadata)...)
	errs = append(errs, apivalidation.ValidateObjectMetaAccessorUpdate(m, was, metadata)...)
	if k != nil && namedAgain[r.Stored.GroupResource()] {
		errs = append(errs, namedMeta(r, k, m)...)
	}
	return append(errs, finalizers(r, m)...)
}

// namedAgain are the kinds whose rules look at names, or at what they begin
// with, at each write, and not only when an object is made.
var namedAgain = func() map[schema.GroupResource]bool { // never changed
	all := map[schema.GroupResource]bool{}
	for group, names := range map[string][]string{
		"": {"configmaps", "endpoints", "limitranges", "namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes", "pods", "secrets", "serviceaccounts"},
		"admissionregistration.k8s.io": {
			"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
			"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
		},
		"apiregistration.k8s.io":       {"apiservices"},
		"apps":                         {"controllerrevisions"},
		"batch":                        {"jobs"},
		"discovery.k8s.io":             {"endpointslices"},
		"flowcontrol.apiserver.k8s.io": {"flowschemas", "prioritylevelconfigurations"},
		"networking.k8s.io":            {"ingressclasses", "ingresses", "ipaddresses"},
		"node.k8s.io":                  {"runtimeclasses"},
		"resource.k8s.io":              {"resourceclaims", "resourceclaimtemplates"},
		"storage.k8s.io":               {"csinodes", "csistoragecapacities", "storageclasses", "volumeattachments", "volumeattributesclasses"},
	} {
		for _, name := range names {
			all[schema.GroupResource{Group: group, Resource: name}] = true
		}
	}
	return all
}()

// metaStays tells, at a fraction of the cost of the rules, that there is nothing
// for them to find: no field that they look at has changed, but for the managers
// of fields.
func metaStays(m, was metav1.Object) bool {
	time := func(a, b *metav1.Time) bool { return a == b || a != nil && b != nil && a.Equal(b) }
	created, wasCreated := m.GetCreationTimestamp(), was.GetCreationTimestamp()
	grace, wasGrace := m.GetDeletionGracePeriodSeconds(), was.GetDeletionGracePeriodSeconds()
	return m.GetResourceVersion() != "" && m.GetGeneration() >= was.GetGeneration() &&
		m.GetName() == was.GetName() && m.GetNamespace() == was.GetNamespace() && m.GetGenerateName() == was.GetGenerateName() && m.GetUID() == was.GetUID() &&
		created.Equal(&wasCreated) && time(m.GetDeletionTimestamp(), was.GetDeletionTimestamp()) &&
		(grace == wasGrace || grace != nil && wasGrace != nil && *grace == *wasGrace) &&
		maps.Equal(m.GetLabels(), was.GetLabels()) && maps.Equal(m.GetAnnotations(), was.GetAnnotations()) &&
		slices.Equal(m.GetFinalizers(), was.GetFinalizers()) &&
		slices.EqualFunc(m.GetOwnerReferences(), was.GetOwnerReferences(), func(a, b metav1.OwnerReference) bool { return apiequality.Semantic.DeepEqual(a, b) })
}
