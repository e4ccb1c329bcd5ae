package validate

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

var replicaSetRules = &rules{ // never changed
	create: rule(replicaSet),
	update: change(func(e *problems, r, old *appsv1.ReplicaSet) {
		replicaSet(e, r)
		e.immutable(specPath, "selector", r.Spec.Selector, sameSpec(r.Spec.Selector, old.Spec.Selector))
	}),
	subresources: subresources{"status": same(func(e *problems, r *appsv1.ReplicaSet) { replicaCounts(e, &r.Status) })},
	warnings: warning(func(r, old *appsv1.ReplicaSet) (out []string) {
		var was *corev1.PodTemplateSpec
		if old != nil {
			was = &old.Spec.Template
		} else {
			out = nameWarnings(r.Name, podNames)
		}
		return append(out, templateWarnings(&r.Spec.Template, was)...)
	}),
}

func replicaSet(e *problems, r *appsv1.ReplicaSet) {
	replicas(e, r.Spec.Replicas)
	e.notNegative(specPath, "minReadySeconds", int64(r.Spec.MinReadySeconds))
	workloadSelector(e, r.Spec.Selector, &r.Spec.Template, emptySelector, &badSelector)
	alwaysRuns(e, &r.Spec.Template, "ReplicaSet")
}
