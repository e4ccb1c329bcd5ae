package validate

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
)

var budgetRules = &rules{ // never changed
	create: rule(budget),
	name:   path.ValidatePathSegmentName,
	update: same(budget),
	subresources: subresources{
		"status": same(func(e *problems, b *policyv1.PodDisruptionBudget) {
			e.all(metavalidation.ValidateConditions(b.Status.Conditions, statusPath.Child("conditions")))
			e.notNegative(statusPath, "disruptionsAllowed", int64(b.Status.DisruptionsAllowed))
			e.notNegative(statusPath, "currentHealthy", int64(b.Status.CurrentHealthy))
			e.notNegative(statusPath, "desiredHealthy", int64(b.Status.DesiredHealthy))
			e.notNegative(statusPath, "expectedPods", int64(b.Status.ExpectedPods))
		}),
	},
}

func budget(e *problems, b *policyv1.PodDisruptionBudget) {
	s := &b.Spec
	if s.MinAvailable != nil && s.MaxUnavailable != nil {
		e.invalid(specPath, s, "minAvailable and maxUnavailable cannot be both set")
	}
	intOrPercent(e, s.MinAvailable, specPath.Child("minAvailable"))
	atMostAll(e, s.MinAvailable, specPath.Child("minAvailable"))
	intOrPercent(e, s.MaxUnavailable, specPath.Child("maxUnavailable"))
	atMostAll(e, s.MaxUnavailable, specPath.Child("maxUnavailable"))
	selector(e, s.Selector, specPath.Child("selector"))
	optionalOneOf(e, specPath, "unhealthyPodEvictionPolicy", s.UnhealthyPodEvictionPolicy, policyv1.AlwaysAllow, policyv1.IfHealthyBudget)
}
