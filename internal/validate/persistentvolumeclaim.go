package validate

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var claimRules = &rules{ // never changed
	create: rule(func(e *problems, c *corev1.PersistentVolumeClaim) { claimSpec(e, &c.Spec, specPath) }),
	update: change(claimUpdate),
	subresources: subresources{
		"status": change(claimStatus),
	},
	warnings: warning(func(c, _ *corev1.PersistentVolumeClaim) []string {
		return storageWarnings(&c.Spec.Resources, specPath.Child("resources"))
	}),
}

func storageWarnings(r *corev1.VolumeResourceRequirements, at *field.Path) []string {
	return append(fractional(r.Limits, corev1.ResourceStorage, at.Child("limits")), fractional(r.Requests, corev1.ResourceStorage, at.Child("requests"))...)
}

var accessModes = []corev1.PersistentVolumeAccessMode{ // never changed
	corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod,
}

func modes(e *problems, list []corev1.PersistentVolumeAccessMode, at *field.Path) {
	for _, m := range list {
		if !slices.Contains(accessModes, m) {
			e.add(field.NotSupported(at, m, accessModes))
		}
	}
	if len(list) > 1 && slices.Contains(list, corev1.ReadWriteOncePod) {
		e.forbidden(at, "may not use ReadWriteOncePod with other access modes")
	}
}

func claimSpec(e *problems, s *corev1.PersistentVolumeClaimSpec, at *field.Path) {
	if len(s.AccessModes) == 0 {
		e.required(at.Child("accessModes"), "at least 1 access mode is required")
	}
	selector(e, s.Selector, at.Child("selector"))
	modes(e, s.AccessModes, at.Child("accessModes"))
	size, ok := s.Resources.Requests[corev1.ResourceStorage]
	storage := at.Child("resources").Key("storage")
	switch {
	case !ok:
		e.required(storage, "")
	case size.Sign() <= 0:
		e.invalid(storage, size.String(), "must be greater than zero")
	}
	if c := s.StorageClassName; c != nil && *c != "" {
		e.check(at, "storageClassName", *c, dnsSubdomain)
	}
	optionalOneOf(e, at, "volumeMode", s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
	if d := s.DataSource; d != nil {
		claimSource(e, d.APIGroup, d.Kind, d.Name, at.Child("dataSource"))
	}
	if d := s.DataSourceRef; d != nil {
		at := at.Child("dataSourceRef")
		claimSource(e, d.APIGroup, d.Kind, d.Name, at)
		if d.Namespace != nil && *d.Namespace != "" {
			e.check(at, "namespace", *d.Namespace, dnsLabel)
		}
		if s.DataSource != nil && d.Namespace == nil && !apiequality.Semantic.DeepEqual(s.DataSource,
			&corev1.TypedLocalObjectReference{APIGroup: d.APIGroup, Kind: d.Kind, Name: d.Name}) {
			e.invalid(at, at, "must match dataSource")
		}
	}
	if c := s.VolumeAttributesClassName; c != nil && *c != "" {
		e.check(at, "volumeAttributesClassName", *c, dnsSubdomain)
	}
}

func claimSource(e *problems, group *string, kind, name string, at *field.Path) {
	e.given(at, "name", name)
	e.given(at, "kind", kind)
	switch {
	case group == nil || *group == "":
		if kind != "PersistentVolumeClaim" {
			e.invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
		}
	default:
		e.check(at, "apiGroup", *group, dnsSubdomain)
	}
}

func claimUpdate(e *problems, c, old *corev1.PersistentVolumeClaim) {
	claimSpec(e, &c.Spec, specPath)
	s, was := c.Spec.DeepCopy(), old.Spec.DeepCopy()
	// The controller binds a claim once.
	if was.VolumeName == "" {
		was.VolumeName = s.VolumeName
	}
	// A class is set where the default came later than the claim (KEP-3333).
	if was.StorageClassName == nil && s.StorageClassName != nil && old.Spec.VolumeName == "" {
		was.StorageClassName = s.StorageClassName
	}
	size, before := s.Resources.Requests[corev1.ResourceStorage], was.Resources.Requests[corev1.ResourceStorage]
	bound := old.Status.Phase == corev1.ClaimBound
	if !bound && size.Cmp(before) < 0 && size.Sign() <= 0 {
		e.forbidden(specPath.Child("resources", "requests", "storage"), "field can not be less than status.capacity")
	}
	if bound {
		if size.Cmp(before) < 0 {
			least, known := old.Status.Capacity[corev1.ResourceStorage]
			if !known || size.Cmp(least) <= 0 {
				e.forbidden(specPath.Child("resources", "requests", "storage"), "field can not be less than status.capacity")
			}
		}
		if was.Resources.Requests != nil {
			was.Resources.Requests[corev1.ResourceStorage] = size
		}
	}
	if bound {
		was.VolumeAttributesClassName = s.VolumeAttributesClassName
	}
	e.immutable(nil, "volumeMode", s.VolumeMode, sameSpec(s.VolumeMode, was.VolumeMode))
	if !apiequality.Semantic.DeepEqual(s, was) {
		e.forbidden(specPath, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"+diff.Diff(&old.Spec, &c.Spec))
	}
}

var allocatedStatuses = []corev1.ClaimResourceStatus{ // never changed
	corev1.PersistentVolumeClaimControllerResizeInProgress, corev1.PersistentVolumeClaimControllerResizeInfeasible,
	corev1.PersistentVolumeClaimNodeResizePending, corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.PersistentVolumeClaimNodeResizeInfeasible,
}

func claimQuantity(e *problems, q resource.Quantity, at *field.Path) {
	if q.Sign() < 0 {
		e.invalid(at, q.Value(), "must be a valid resource quantity")
	}
}

// allocatedName judges what a claim is told to be given: of Kubernetes' own
// resources storage alone.
func allocatedName(e *problems, n corev1.ResourceName, at *field.Path) bool {
	before := len(e.list)
	if texts := validation.IsQualifiedName(string(n)); len(texts) > 0 {
		e.texts(at, n, texts)
	} else if n != corev1.ResourceStorage && (!strings.Contains(string(n), "/") || strings.Contains(string(n), "kubernetes.io/")) {
		e.add(field.NotSupported(at, n, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	return len(e.list) == before
}

func claimStatus(e *problems, c, _ *corev1.PersistentVolumeClaim) {
	if len(c.Spec.AccessModes) == 0 {
		e.required(specPath.Child("accessModes"), "")
	}
	for n, q := range ordered(c.Status.Capacity) {
		at := statusPath.Child("capacity").Key(string(n))
		claimQuantity(e, q, at)
	}
	statuses := statusPath.Child("allocatedResourceStatuses")
	for n, s := range sorted(c.Status.AllocatedResourceStatuses) {
		allocatedName(e, n, statuses)
		if !slices.Contains(allocatedStatuses, s) {
			e.add(field.NotSupported(statuses, n, allocatedStatuses)) // upstream shows the name
		}
	}
	allocated := statusPath.Child("allocatedResources")
	for n, q := range ordered(c.Status.AllocatedResources) {
		if allocatedName(e, n, allocated) {
			claimQuantity(e, q, allocated.Key(string(n)))
		}
	}
}
