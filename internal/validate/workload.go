package validate

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What workloads have in common.

var badSelector = "invalid label selector" // never changed

const unselected = "`selector` does not match template `labels`"

// workloadSelector judges a workload's selector, which must select the pods
// that its template makes. emptyText says that a selector must not select all,
// badText, which may be nil, that it cannot be read.
func workloadSelector(e *problems, s *metav1.LabelSelector, t *corev1.PodTemplateSpec, emptyText string, badText *string) {
	at := specPath.Child("selector")
	if s == nil {
		e.required(at, "")
		e.invalid(specPath.Child("template", "metadata", "labels"), t.Labels, unselected) // for it selects none
		return
	}
	selector(e, s, at)
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		e.invalid(at, s, emptyText)
		return
	}
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		if badText != nil {
			e.invalid(at, s, *badText)
		}
		return
	}
	if !sel.Matches(labels.Set(t.Labels)) {
		e.invalid(specPath.Child("template", "metadata", "labels"), t.Labels, unselected)
	}
}

// alwaysRuns judges a template whose pods are to run for ever.
func alwaysRuns(e *problems, t *corev1.PodTemplateSpec, kind string) {
	podTemplate(e, t, specPath.Child("template"))
	neverEnds(e, t, kind)
}

func neverEnds(e *problems, t *corev1.PodTemplateSpec, kind string) {
	at := specPath.Child("template")
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways && t.Spec.RestartPolicy != "" {
		e.add(field.NotSupported(at.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		e.forbidden(at.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in "+kind+" is not Supported")
	}
}

// intOrPercent judges a number of pods, or a part of them.
func intOrPercent(e *problems, v *intstr.IntOrString, at *field.Path) {
	if v == nil {
		return
	}
	if v.Type == intstr.String {
		e.texts(at, v, validation.IsValidPercent(v.StrVal))
		return
	}
	if v.IntVal < 0 {
		e.invalid(at, int64(v.IntVal), apivalidation.IsNegativeErrorMsg)
	}
}

// percent returns what stands before a percent sign.
func percent(v *intstr.IntOrString) (int, bool) {
	if v == nil || v.Type != intstr.String || len(validation.IsValidPercent(v.StrVal)) > 0 {
		return 0, false
	}
	n := 0
	for _, c := range strings.TrimSuffix(v.StrVal, "%") {
		if n = n*10 + int(c-'0'); n > 1<<20 {
			break
		}
	}
	return n, true
}

func atMostAll(e *problems, v *intstr.IntOrString, at *field.Path) {
	if n, ok := percent(v); ok && n > 100 {
		e.invalid(at, v, "must not be greater than 100%")
	}
}

func isZero(v *intstr.IntOrString) bool {
	if n, ok := percent(v); ok {
		return n == 0
	}
	return v == nil || v.IntVal == 0 // which a text is, too
}

// replicaCounts judges a status that counts pods.
func replicaCounts(e *problems, s *appsv1.ReplicaSetStatus) {
	e.notNegative(statusPath, "replicas", int64(s.Replicas))
	e.notNegative(statusPath, "fullyLabeledReplicas", int64(s.FullyLabeledReplicas))
	e.notNegative(statusPath, "readyReplicas", int64(s.ReadyReplicas))
	e.notNegative(statusPath, "availableReplicas", int64(s.AvailableReplicas))
	e.notNegative(statusPath, "observedGeneration", s.ObservedGeneration)
	if n := s.TerminatingReplicas; n != nil {
		e.notNegative(statusPath, "terminatingReplicas", int64(*n))
	}
	const text = "cannot be greater than status.replicas"
	atMost(e, "fullyLabeledReplicas", s.FullyLabeledReplicas, s.Replicas, text)
	atMost(e, "readyReplicas", s.ReadyReplicas, s.Replicas, text)
	atMost(e, "availableReplicas", s.AvailableReplicas, s.Replicas, text)
	atMost(e, "availableReplicas", s.AvailableReplicas, s.ReadyReplicas, "cannot be greater than readyReplicas")
}

func atMost(e *problems, name string, n, most int32, text string) {
	if n > most {
		e.invalid(statusPath.Child(name), n, text)
	}
}

// collisions judges how often a name was taken already, which only grows.
func collisions(e *problems, n, was *int32) {
	if n != nil {
		e.notNegative(statusPath, "collisionCount", int64(*n))
	}
	if was != nil && (n == nil || *n < *was) {
		var v int32
		if n != nil {
			v = *n
		}
		e.invalid(statusPath.Child("collisionCount"), v, "cannot be decremented")
	}
}

func replicas(e *problems, n *int32) {
	if n == nil {
		e.required(specPath.Child("replicas"), "")
		return
	}
	e.notNegative(specPath, "replicas", int64(*n))
}

func templateWarnings(t, old *corev1.PodTemplateSpec) []string {
	if old != nil && sameSpec(&t.Spec, &old.Spec) {
		return nil
	}
	return specWarnings(&t.Spec, specPath.Child("template", "spec"))
}
