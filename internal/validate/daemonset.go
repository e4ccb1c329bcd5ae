package validate

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var daemonSetRules = &rules{ // never changed
	create: rule(daemonSet),
	update: change(func(e *problems, d, old *appsv1.DaemonSet) {
		daemonSet(e, d)
		e.immutable(specPath, "selector", d.Spec.Selector, sameSpec(d.Spec.Selector, old.Spec.Selector))
	}),
	subresources: subresources{"status": change(daemonSetStatus)},
	warnings: warning(func(d, old *appsv1.DaemonSet) []string {
		var was *corev1.PodTemplateSpec
		if old != nil {
			was = &old.Spec.Template
		}
		return templateWarnings(&d.Spec.Template, was)
	}),
}

func daemonSet(e *problems, d *appsv1.DaemonSet) {
	s := &d.Spec
	if s.Selector == nil {
		e.invalid(specPath.Child("template", "metadata", "labels"), s.Template.Labels, unselected)
	} else {
		workloadSelector(e, s.Selector, &s.Template, "empty selector is invalid for daemonset", nil)
	}
	alwaysRuns(e, &s.Template, "DaemonSet")
	e.notNegative(specPath, "minReadySeconds", int64(s.MinReadySeconds))
	daemonSetStrategy(e, &s.UpdateStrategy)
	if n := s.RevisionHistoryLimit; n != nil {
		e.notNegative(specPath, "revisionHistoryLimit", int64(*n))
	}
}

func daemonSetStrategy(e *problems, s *appsv1.DaemonSetUpdateStrategy) {
	at := specPath.Child("updateStrategy")
	switch s.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
	case appsv1.RollingUpdateDaemonSetStrategyType:
		r, at := s.RollingUpdate, at.Child("rollingUpdate")
		if r == nil {
			e.required(at, "")
			return
		}
		unavailable, surge := at.Child("maxUnavailable"), at.Child("maxSurge")
		intOrPercent(e, r.MaxUnavailable, unavailable)
		intOrPercent(e, r.MaxSurge, surge)
		atMostAll(e, r.MaxUnavailable, unavailable)
		atMostAll(e, r.MaxSurge, surge)
		switch one, other := isZero(r.MaxUnavailable), isZero(r.MaxSurge); {
		case one && other:
			e.required(unavailable, "cannot be 0 when maxSurge is 0")
		case !one && !other:
			e.invalid(surge, r.MaxSurge, "may not be set when maxUnavailable is non-zero")
		}
	default:
		e.add(field.NotSupported(at, s, []appsv1.DaemonSetUpdateStrategyType{appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType}))
	}
}

func daemonSetStatus(e *problems, d, old *appsv1.DaemonSet) {
	s := &d.Status
	e.notNegative(statusPath, "currentNumberScheduled", int64(s.CurrentNumberScheduled))
	e.notNegative(statusPath, "numberMisscheduled", int64(s.NumberMisscheduled))
	e.notNegative(statusPath, "desiredNumberScheduled", int64(s.DesiredNumberScheduled))
	e.notNegative(statusPath, "numberReady", int64(s.NumberReady))
	e.notNegative(statusPath, "observedGeneration", s.ObservedGeneration)
	e.notNegative(statusPath, "updatedNumberScheduled", int64(s.UpdatedNumberScheduled))
	e.notNegative(statusPath, "numberAvailable", int64(s.NumberAvailable))
	e.notNegative(statusPath, "numberUnavailable", int64(s.NumberUnavailable))
	collisions(e, s.CollisionCount, old.Status.CollisionCount)
}
