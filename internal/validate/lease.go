package validate

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

var leaseRules = &rules{create: rule(lease), update: same(lease)} // never changed

func lease(e *problems, l *coordinationv1.Lease) {
	s := &l.Spec
	if d := s.LeaseDurationSeconds; d != nil && *d <= 0 {
		e.invalid(specPath.Child("leaseDurationSeconds"), *d, "must be greater than 0")
	}
	if n := s.LeaseTransitions; n != nil {
		e.notNegative(specPath, "leaseTransitions", int64(*n))
	}
	if s.Strategy != nil {
		e.check(specPath, "strategy", string(*s.Strategy), validation.IsQualifiedName)
	}
	if s.PreferredHolder != nil && *s.PreferredHolder != "" && (s.Strategy == nil || *s.Strategy == "") {
		e.forbidden(specPath.Child("preferredHolder"), "may only be specified when `strategy` is defined")
	}
}
