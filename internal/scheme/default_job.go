package scheme

import (
	"math"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

func defaultJob(j *batchv1.Job) {
	s := &j.Spec
	// A job that says neither runs one pod once; one that says how many at a
	// time leaves open how often.
	if s.Completions == nil && s.Parallelism == nil {
		point(&s.Completions, 1)
	}
	point(&s.Parallelism, 1)
	if s.BackoffLimitPerIndex != nil {
		point(&s.BackoffLimit, math.MaxInt32)
	}
	point(&s.BackoffLimit, 6)
	point(&s.CompletionMode, batchv1.NonIndexedCompletion)
	point(&s.Suspend, false)
	point(&s.ManualSelector, false)
	if s.PodFailurePolicy != nil {
		point(&s.PodReplacementPolicy, batchv1.Failed)
		for i := range s.PodFailurePolicy.Rules {
			awaited(&s.PodFailurePolicy.Rules[i])
		}
	}
	point(&s.PodReplacementPolicy, batchv1.TerminatingOrFailed)
	if len(j.Labels) == 0 && len(s.Template.Labels) > 0 {
		j.Labels = s.Template.Labels // the very map: labels that the pods get later are the Job's too
	}
	defaultPodSpec(&s.Template.Spec)
}

// awaited fills in what conditions of pods a rule means.
func awaited(r *batchv1.PodFailurePolicyRule) {
	for i := range r.OnPodConditions {
		fill(&r.OnPodConditions[i].Status, corev1.ConditionTrue)
	}
}
