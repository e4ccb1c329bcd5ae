package validate

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var quotaRules = &rules{ // never changed
	create: rule(quota),
	update: change(func(e *problems, q, old *corev1.ResourceQuota) {
		quota(e, q)
		if !sets.New(q.Spec.Scopes...).Equal(sets.New(old.Spec.Scopes...)) {
			e.invalid(specPath.Child("scopes"), q.Spec.Scopes, "field is immutable")
		}
	}),
	subresources: subresources{
		"status": same(func(e *problems, q *corev1.ResourceQuota) {
			quantities(e, q.Status.Hard, statusPath.Child("hard"), quotaResource)
			quantities(e, q.Status.Used, statusPath.Child("used"), quotaResource)
		}),
	},
}

var quotaScopes = []corev1.ResourceQuotaScope{ // never changed
	corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating,
	corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort,
	corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity,
	corev1.ResourceQuotaScopeVolumeAttributesClass,
}

func quota(e *problems, q *corev1.ResourceQuota) {
	s := &q.Spec
	quantities(e, s.Hard, specPath.Child("hard"), quotaResource)
	at := specPath.Child("scopes")
	var seen []corev1.ResourceQuotaScope
	for _, scope := range s.Scopes {
		if !slices.Contains(quotaScopes, scope) {
			e.invalid(at, s.Scopes, "unsupported scope")
		}
		scopeHolds(e, scope, s.Hard, at, s.Scopes)
		seen = append(seen, scope)
	}
	conflicting(e, seen, at, s.Scopes)
	if s.ScopeSelector == nil {
		return
	}
	at = specPath.Child("scopeSelector")
	seen = nil
	for _, r := range s.ScopeSelector.MatchExpressions {
		at := at.Child("matchExpressions")
		if !slices.Contains(quotaScopes, r.ScopeName) {
			e.invalid(at.Child("scopeName"), r.ScopeName, "unsupported scope")
		}
		scopeHolds(e, r.ScopeName, s.Hard, at, s.ScopeSelector)
		switch r.ScopeName {
		case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeBestEffort,
			corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			if r.Operator != corev1.ScopeSelectorOpExists {
				e.invalid(at.Child("operator"), r.Operator, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity")
			}
		}
		switch r.Operator {
		case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
			if len(r.Values) == 0 {
				e.required(at.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector")
			}
		case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				e.invalid(at.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector")
			}
		default:
			e.invalid(at.Child("operator"), r.Operator, "not a valid selector operator")
		}
		seen = append(seen, r.ScopeName)
	}
	conflicting(e, seen, at, s.ScopeSelector)
}

// scopeHolds checks that what a quota limits exists in its scope.
func scopeHolds(e *problems, scope corev1.ResourceQuotaScope, hard corev1.ResourceList, at *field.Path, value any) {
	for name := range ordered(hard) {
		if strings.Contains(string(name), "/") {
			continue // counted whatever the scope
		}
		ok := true
		switch scope {
		case corev1.ResourceQuotaScopeBestEffort:
			ok = name == corev1.ResourcePods
		case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating,
			corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopePriorityClass:
			ok = isPodQuota(name)
		case corev1.ResourceQuotaScopeVolumeAttributesClass:
			ok = isClaimQuota(name)
		}
		if !ok {
			e.invalid(at, value, "unsupported scope applied to resource")
		}
	}
}

// isClaimQuota tells whether a quota of that name is of claims of volumes.
func isClaimQuota(name corev1.ResourceName) bool {
	return name == corev1.ResourcePersistentVolumeClaims || name == corev1.ResourceRequestsStorage ||
		name == "count/persistentvolumeclaims" || strings.Contains(string(name), ".storageclass.storage.k8s.io/")
}

// isPodQuota tells whether a quota of that name is of what pods use.
func isPodQuota(name corev1.ResourceName) bool {
	n := strings.TrimPrefix(strings.TrimPrefix(string(name), "requests."), "limits.")
	switch corev1.ResourceName(n) {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourcePods:
		return true
	}
	return isHugePages(corev1.ResourceName(n)) || strings.Contains(n, "/") && !strings.HasPrefix(n, "count/") && !strings.Contains(n, ".storageclass.storage.k8s.io/")
}

func conflicting(e *problems, scopes []corev1.ResourceQuotaScope, at *field.Path, value any) {
	for _, pair := range [][2]corev1.ResourceQuotaScope{
		{corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort},
		{corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating},
	} {
		if slices.Contains(scopes, pair[0]) && slices.Contains(scopes, pair[1]) {
			e.invalid(at, value, "conflicting scopes")
		}
	}
}

// quotaResource judges the name of what a quota limits.
func quotaResource(e *problems, name corev1.ResourceName, at *field.Path) {
	if texts := validation.IsQualifiedName(string(name)); len(texts) > 0 {
		e.texts(at, name, texts)
	} else if !strings.Contains(string(name), "/") && !isStandardResource(name) {
		e.invalid(at, name, "must be a standard resource type or fully qualified")
	}
	if !strings.Contains(string(name), "/") && !isQuotaResource(name) {
		e.invalid(at, name, "must be a standard resource for quota")
	}
}

func isQuotaResource(name corev1.ResourceName) bool {
	return isStandardResource(name) && name != corev1.ResourceStorage
}
