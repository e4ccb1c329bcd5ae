package validate

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The four kinds of RBAC judge two things: what is allowed, and to whom.

var roleRules = &rules{ // never changed
	name:   path.ValidatePathSegmentName,
	create: rule(role),
	update: same(role),
}

func role(e *problems, r *rbacv1.Role) { policyRules(e, r.Rules, true) }

var clusterRoleRules = &rules{ // never changed
	name:   path.ValidatePathSegmentName,
	create: rule(clusterRole),
	update: same(clusterRole),
}

func clusterRole(e *problems, r *rbacv1.ClusterRole) {
	policyRules(e, r.Rules, false)
	if r.AggregationRule == nil {
		return
	}
	at := field.NewPath("aggregationRule", "clusterRoleSelectors")
	if len(r.AggregationRule.ClusterRoleSelectors) == 0 {
		e.required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil")
	}
	for i := range r.AggregationRule.ClusterRoleSelectors {
		s := &r.AggregationRule.ClusterRoleSelectors[i]
		selector(e, s, at.Index(i))
		if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
			e.invalid(at.Index(i), nil, "invalid label selector.")
		}
	}
}

func policyRules(e *problems, list []rbacv1.PolicyRule, namespaced bool) {
	for i := range list {
		r := &list[i]
		at := field.NewPath("rules").Index(i)
		if len(r.Verbs) == 0 {
			e.required(at.Child("verbs"), "verbs must contain at least one value")
		}
		if len(r.NonResourceURLs) > 0 {
			if namespaced {
				e.invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs")
			}
			if len(r.APIGroups)+len(r.Resources)+len(r.ResourceNames) > 0 {
				e.invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs")
			}
			continue
		}
		if len(r.APIGroups) == 0 {
			e.required(at.Child("apiGroups"), "resource rules must supply at least one api group")
		}
		if len(r.Resources) == 0 {
			e.required(at.Child("resources"), "resource rules must supply at least one resource")
		}
	}
}

var roleBindingRules = &rules{ // never changed
	name:   path.ValidatePathSegmentName,
	create: rule(roleBinding),
	update: change(func(e *problems, b, old *rbacv1.RoleBinding) {
		roleBinding(e, b)
		sameRole(e, b.RoleRef, old.RoleRef)
	}),
}

func roleBinding(e *problems, b *rbacv1.RoleBinding) {
	roleRef(e, b.RoleRef, "Role", "ClusterRole")
	subjects(e, b.Subjects, true)
}

var clusterRoleBindingRules = &rules{ // never changed
	name:   path.ValidatePathSegmentName,
	create: rule(clusterRoleBinding),
	update: change(func(e *problems, b, old *rbacv1.ClusterRoleBinding) {
		clusterRoleBinding(e, b)
		sameRole(e, b.RoleRef, old.RoleRef)
	}),
}

func clusterRoleBinding(e *problems, b *rbacv1.ClusterRoleBinding) {
	roleRef(e, b.RoleRef, "ClusterRole")
	subjects(e, b.Subjects, false)
}

var roleRefPath = field.NewPath("roleRef")

func roleRef(e *problems, r rbacv1.RoleRef, kinds ...string) {
	oneOf(e, roleRefPath, "apiGroup", r.APIGroup, rbacv1.GroupName)
	oneOf(e, roleRefPath, "kind", r.Kind, kinds...)
	e.checked(roleRefPath, "name", r.Name, path.IsValidPathSegmentName)
}

// sameRole keeps what a binding grants: who may change a binding may not
// thereby grant another role.
func sameRole(e *problems, r, old rbacv1.RoleRef) {
	if r != old {
		e.invalid(roleRefPath, r, "cannot change roleRef")
	}
}

func subjects(e *problems, list []rbacv1.Subject, namespaced bool) {
	for i, s := range list {
		at := field.NewPath("subjects").Index(i)
		e.given(at, "name", s.Name)
		switch s.Kind {
		case rbacv1.ServiceAccountKind:
			if s.Name != "" {
				e.check(at, "name", s.Name, dnsSubdomain)
			}
			if s.APIGroup != "" {
				e.add(field.NotSupported(at.Child("apiGroup"), s.APIGroup, []string{""}))
			}
			if !namespaced {
				e.given(at, "namespace", s.Namespace)
			}
		case rbacv1.UserKind, rbacv1.GroupKind:
			oneOf(e, at, "apiGroup", s.APIGroup, rbacv1.GroupName)
		default:
			oneOf(e, at, "kind", s.Kind, rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind)
		}
	}
}
