package validate

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// AccessReview judges a question of what somebody may do, which is never stored.
func AccessReview(obj runtime.Object) field.ErrorList {
	e, at := problems{}, field.NewPath("spec")
	empty := func(m metav1.ObjectMeta, text string) {
		m.ManagedFields, m.CreationTimestamp = nil, metav1.Time{}
		if !apiequality.Semantic.DeepEqual(m, metav1.ObjectMeta{}) {
			e.invalid(metadata, m, text)
		}
	}
	switch r := obj.(type) {
	case *authorizationv1.SelfSubjectAccessReview:
		access(&e, r.Spec.ResourceAttributes, r.Spec.NonResourceAttributes, at)
		empty(r.ObjectMeta, "must be empty")
	case *authorizationv1.SubjectAccessReview:
		subject(&e, &r.Spec, at)
		empty(r.ObjectMeta, "must be empty")
	case *authorizationv1.LocalSubjectAccessReview:
		subject(&e, &r.Spec, at)
		m := r.ObjectMeta
		m.Namespace = ""
		empty(m, "must be empty except for namespace")
		if a := r.Spec.ResourceAttributes; a != nil && a.Namespace != r.Namespace {
			e.invalid(at.Child("resourceAttributes", "namespace"), a.Namespace, "must match metadata.namespace")
		}
		if a := r.Spec.NonResourceAttributes; a != nil {
			e.invalid(at.Child("nonResourceAttributes"), a, "disallowed on this kind of request")
		}
	}
	return e.list
}

func subject(e *problems, s *authorizationv1.SubjectAccessReviewSpec, at *field.Path) {
	access(e, s.ResourceAttributes, s.NonResourceAttributes, at)
	if s.User == "" && len(s.Groups) == 0 {
		e.invalid(at.Child("user"), s.User, "at least one of user or group must be specified")
	}
}

func access(e *problems, r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes, at *field.Path) {
	switch {
	case r != nil && n != nil:
		e.invalid(at.Child("nonResourceAttributes"), n, "cannot be specified in combination with resourceAttributes")
	case r == nil && n == nil:
		e.invalid(at.Child("resourceAttributes"), r, "exactly one of nonResourceAttributes or resourceAttributes must be specified")
	}
}
