package job

import (
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"clipper/internal/controller"
)

// failures is how often an index has failed before a pod of it was made. The
// pods carry it in annotations, so the last that failed keeps its finalizer
// until the next is there (KEP-3850).
type failures struct {
	counted, ignored int
}

func (f failures) all() int { return f.counted + f.ignored }

func limitedByIndex(j *batchv1.Job) bool { return j.Spec.BackoffLimitPerIndex != nil && indexed(j) }

func failuresBefore(p *corev1.Pod) failures {
	number := func(annotation string) int {
		n, err := strconv.Atoi(p.Annotations[annotation])
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	return failures{number(batchv1.JobIndexFailureCountAnnotation), number(batchv1.JobIndexIgnoredFailureCountAnnotation)}
}

// lose finds the indexes that have failed too often, and the last failed pod
// of each that is to be tried again.
func (p *plan) lose(s *state, pods []*corev1.Pod) {
	if !limitedByIndex(s.job) {
		return
	}
	if f := p.status.FailedIndexes; f != nil {
		s.lost = parseIndexes(*f, completions(s.job))
	}
	s.last = map[int]*corev1.Pod{}
	latest := map[int]*corev1.Pod{}
	succeeded := map[int]bool{}
	for _, pod := range pods {
		n := indexOf(pod)
		if n < 0 || n >= completions(s.job) {
			continue
		}
		succeeded[n] = succeeded[n] || pod.Status.Phase == corev1.PodSucceeded
		if was := latest[n]; was == nil || failuresBefore(was).all() < failuresBefore(pod).all() {
			latest[n] = pod
		}
		if !failedNow(pod) || s.lost.has(n) || s.done.has(n) || !tracked(pod) {
			continue
		}
		action := s.policy(pod)
		if action == batchv1.PodFailurePolicyActionFailIndex ||
			action == batchv1.PodFailurePolicyActionCount && failuresBefore(pod).counted >= int(*s.job.Spec.BackoffLimitPerIndex) {
			s.lost = s.lost.with(n)
		}
	}
	for n, pod := range latest {
		if failedNow(pod) && tracked(pod) && !s.lost.has(n) && !s.done.has(n) && !succeeded[n] {
			s.last[n] = pod
		}
	}
	text := s.lost.String()
	p.status.FailedIndexes = &text
}

// failedNow tells whether a pod has failed, one that was deleted before it had
// a node included.
func failedNow(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil && !controller.PodEnded(p) && p.Spec.NodeName == ""
}

// before returns how often the index has failed until now.
func (s *state) before(n int) failures {
	pod := s.last[n]
	if pod == nil {
		return failures{}
	}
	f := failuresBefore(pod)
	if s.policy(pod) == batchv1.PodFailurePolicyActionIgnore {
		f.ignored++
	} else {
		f.counted++
	}
	return f
}

// untilRetry returns how long the index waits for its next try.
func (s *state) untilRetry(n int) time.Duration {
	pod := s.last[n]
	if pod == nil {
		return 0
	}
	return endedAt(pod).Add(pause(failuresBefore(pod).all() + 1)).Sub(s.now)
}

// losesTooMany tells why indexes that failed end the Job.
func losesTooMany(s *state) (reason, message string) {
	if !limitedByIndex(s.job) || len(s.lost) == 0 {
		return "", ""
	}
	if m := s.job.Spec.MaxFailedIndexes; m != nil && len(s.lost) > int(*m) {
		return batchv1.JobReasonMaxFailedIndexesExceeded, "Job has exceeded the specified maximal number of failed indexes"
	}
	if len(s.lost)+len(s.done) >= completions(s.job) {
		return batchv1.JobReasonFailedIndexes, "Job has failed indexes"
	}
	return "", ""
}
