package validate

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// AccessReview returns what is wrong with a question about who may do what,
// which is answered and not stored.
func AccessReview(question runtime.Object) field.ErrorList {
	e := &problems{}
	switch o := question.(type) {
	case *authorizationv1.SelfSubjectAccessReview:
		asked(e, o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
		unnamed(e, o.ObjectMeta, "must be empty")
	case *authorizationv1.SubjectAccessReview:
		asked(e, o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
		asksFor(e, &o.Spec)
		unnamed(e, o.ObjectMeta, "must be empty")
	case *authorizationv1.LocalSubjectAccessReview:
		asked(e, o.Spec.ResourceAttributes, o.Spec.NonResourceAttributes)
		asksFor(e, &o.Spec)
		m := o.ObjectMeta
		m.Namespace = ""
		unnamed(e, m, "must be empty except for namespace")
		if r := o.Spec.ResourceAttributes; r != nil && r.Namespace != o.Namespace {
			e.invalid(specPath.Child("resourceAttributes", "namespace"), r.Namespace, "must match metadata.namespace")
		}
		if n := o.Spec.NonResourceAttributes; n != nil {
			e.invalid(specPath.Child("nonResourceAttributes"), n, "disallowed on this kind of request")
		}
	}
	return e.list
}

// asked judges what it is that somebody may do or not.
func asked(e *problems, r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) {
	switch {
	case r != nil && n != nil:
		e.invalid(specPath.Child("nonResourceAttributes"), n, "cannot be specified in combination with resourceAttributes")
	case r == nil && n == nil:
		e.invalid(specPath.Child("resourceAttributes"), r, "exactly one of nonResourceAttributes or resourceAttributes must be specified")
	}
	if r == nil {
		return
	}
	at := specPath.Child("resourceAttributes")
	if s := r.FieldSelector; s != nil {
		at := at.Child("fieldSelector")
		oneSelector(e, at, s.RawSelector, len(s.Requirements))
		for i, q := range s.Requirements {
			at := at.Child("requirements").Index(i)
			if q.Key == "" {
				e.required(at.Child("key"), "must be specified")
			}
			operands(e, at.Child("values"), string(q.Operator), q.Values)
		}
	}
	if s := r.LabelSelector; s != nil {
		at := at.Child("labelSelector")
		oneSelector(e, at, s.RawSelector, len(s.Requirements))
		for i, q := range s.Requirements {
			at := at.Child("requirements").Index(i)
			e.texts(at.Child("key"), q.Key, validation.IsQualifiedName(q.Key))
			operands(e, at.Child("values"), string(q.Operator), q.Values)
		}
	}
}

// oneSelector: a selector is a text or a list.
func oneSelector(e *problems, at *field.Path, raw string, requirements int) {
	switch {
	case raw != "" && requirements > 0:
		e.invalid(at.Child("rawSelector"), raw, "may not specified at the same time as requirements")
	case raw == "" && requirements == 0:
		e.required(at.Child("requirements"), "when "+at.String()+" is specified, requirements or rawSelector is required")
	}
}

// operands: what an operator that is known takes; others may be known to the authorizer.
func operands(e *problems, at *field.Path, operator string, values []string) {
	switch operator {
	case "In", "NotIn":
		if len(values) == 0 {
			e.required(at, "must be specified when `operator` is 'In' or 'NotIn'")
		}
	case "Exists", "DoesNotExist":
		if len(values) > 0 {
			e.forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
		}
	}
}

func asksFor(e *problems, s *authorizationv1.SubjectAccessReviewSpec) {
	if s.User == "" && len(s.Groups) == 0 {
		e.invalid(specPath.Child("user"), s.User, "at least one of user or group must be specified")
	}
}

// unnamed: a question has no name and nothing else that objects have.
func unnamed(e *problems, m metav1.ObjectMeta, text string) {
	m.ManagedFields, m.CreationTimestamp = nil, metav1.Time{}
	if !apiequality.Semantic.DeepEqual(m, metav1.ObjectMeta{}) {
		e.invalid(metadata, m, text)
	}
}
