package validate

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var deploymentRules = &rules{ // never changed
	create:       rule(deployment),
	update:       change(deploymentUpdate),
	subresources: subresources{"status": change(deploymentStatus)},
	warnings: warning(func(d, old *appsv1.Deployment) (out []string) {
		var was *corev1.PodTemplateSpec
		if old != nil {
			was = &old.Spec.Template
		} else {
			out = nameWarnings(d.Name, podNames)
		}
		return append(out, templateWarnings(&d.Spec.Template, was)...)
	}),
}

const emptySelector = "empty selector is invalid for deployment"

func deployment(e *problems, d *appsv1.Deployment) {
	s := &d.Spec
	replicas(e, s.Replicas)
	workloadSelector(e, s.Selector, &s.Template, emptySelector, &badSelector)
	alwaysRuns(e, &s.Template, "ReplicaSet")
	deploymentStrategy(e, &s.Strategy)
	e.notNegative(specPath, "minReadySeconds", int64(s.MinReadySeconds))
	if n := s.RevisionHistoryLimit; n != nil {
		e.notNegative(specPath, "revisionHistoryLimit", int64(*n))
	}
	if n := s.ProgressDeadlineSeconds; n != nil {
		e.notNegative(specPath, "progressDeadlineSeconds", int64(*n))
		if *n <= s.MinReadySeconds {
			e.invalid(specPath.Child("progressDeadlineSeconds"), *n, "must be greater than minReadySeconds")
		}
	}
}

func deploymentStrategy(e *problems, s *appsv1.DeploymentStrategy) {
	at := specPath.Child("strategy")
	rolling := at.Child("rollingUpdate")
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			e.forbidden(rolling, "may not be specified when strategy `type` is 'Recreate'")
		}
	case appsv1.RollingUpdateDeploymentStrategyType:
		r := s.RollingUpdate
		if r == nil {
			e.required(rolling, "this should be defaulted and never be nil")
			return
		}
		unavailable, surge := rolling.Child("maxUnavailable"), rolling.Child("maxSurge")
		intOrPercent(e, r.MaxUnavailable, unavailable)
		intOrPercent(e, r.MaxSurge, surge)
		if isZero(r.MaxUnavailable) && isZero(r.MaxSurge) {
			e.invalid(unavailable, r.MaxUnavailable, "may not be 0 when `maxSurge` is 0")
		}
		atMostAll(e, r.MaxUnavailable, unavailable)
	default:
		e.add(field.NotSupported(at, s, []appsv1.DeploymentStrategyType{appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType}))
	}
}

func deploymentUpdate(e *problems, d, old *appsv1.Deployment) {
	deployment(e, d)
	e.immutable(specPath, "selector", d.Spec.Selector, sameSpec(d.Spec.Selector, old.Spec.Selector))
}

func deploymentStatus(e *problems, d, old *appsv1.Deployment) {
	s := &d.Status
	e.notNegative(statusPath, "observedGeneration", s.ObservedGeneration)
	e.notNegative(statusPath, "replicas", int64(s.Replicas))
	e.notNegative(statusPath, "updatedReplicas", int64(s.UpdatedReplicas))
	e.notNegative(statusPath, "readyReplicas", int64(s.ReadyReplicas))
	e.notNegative(statusPath, "availableReplicas", int64(s.AvailableReplicas))
	e.notNegative(statusPath, "unavailableReplicas", int64(s.UnavailableReplicas))
	if n := s.TerminatingReplicas; n != nil {
		e.notNegative(statusPath, "terminatingReplicas", int64(*n))
	}
	const text = "cannot be greater than status.replicas"
	atMost(e, "updatedReplicas", s.UpdatedReplicas, s.Replicas, text)
	atMost(e, "readyReplicas", s.ReadyReplicas, s.Replicas, text)
	atMost(e, "availableReplicas", s.AvailableReplicas, s.Replicas, text)
	atMost(e, "availableReplicas", s.AvailableReplicas, s.ReadyReplicas, "cannot be greater than readyReplicas")
	collisions(e, s.CollisionCount, old.Status.CollisionCount)
}
