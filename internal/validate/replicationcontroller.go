package validate

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var replicationControllerRules = &rules{ // never changed
	name:   longName,
	create: rule(replicationController),
	update: same(replicationController),
	subresources: subresources{"status": same(func(e *problems, r *corev1.ReplicationController) {
		s := &r.Status
		replicaCounts(e, &appsv1.ReplicaSetStatus{
			Replicas: s.Replicas, FullyLabeledReplicas: s.FullyLabeledReplicas, ReadyReplicas: s.ReadyReplicas,
			AvailableReplicas: s.AvailableReplicas, ObservedGeneration: s.ObservedGeneration,
		})
	})},
	warnings: warning(func(r, old *corev1.ReplicationController) (out []string) {
		if old != nil {
			return nil // upstream looks whether the generation has grown, before it has
		}
		out = nameWarnings(r.Name, podNames)
		if r.Spec.Template != nil {
			out = append(out, templateWarnings(r.Spec.Template, nil)...)
		}
		return out
	}),
}

func replicationController(e *problems, r *corev1.ReplicationController) {
	s := &r.Spec
	e.notNegative(specPath, "minReadySeconds", int64(s.MinReadySeconds))
	if len(s.Selector) == 0 {
		e.required(specPath.Child("selector"), "")
	}
	replicas(e, s.Replicas)
	if s.Template == nil {
		e.required(specPath.Child("template"), "")
		return
	}
	if len(s.Selector) > 0 && !labels.SelectorFromSet(s.Selector).Matches(labels.Set(s.Template.Labels)) {
		e.invalid(specPath.Child("template", "metadata", "labels"), s.Template.Labels, "`selector` does not match template `labels`")
	}
	alwaysRuns(e, s.Template, "ReplicationController")
}
