package job

import (
	"fmt"
	"math"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clipper/internal/controller"
)

const (
	// A failed pod is replaced after a pause that doubles with each failure.
	firstPause = 10 * time.Second
	lastPause  = 10 * time.Minute
	// counting bounds the pods that one sync counts.
	counting = 500
)

// plan is what one sync does. The status is written before finalizers are
// removed, so that every pod that ended is counted, and counted once, whatever
// becomes of it or of this process (KEP-2307).
type plan struct {
	status   batchv1.JobStatus
	release  []*corev1.Pod // lose their finalizer
	delete   []*corev1.Pod
	create   []creation
	next     time.Duration
	finished batchv1.JobConditionType // set by this plan
	events   []event
}

// creation is a pod to be made.
type creation struct {
	index int // its completion index, -1 for a Job without
	after failures
}

type event struct{ kind, reason, message string }

func condition(s *batchv1.JobStatus, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == kind {
			return &s.Conditions[i]
		}
	}
	return nil
}

func holds(s *batchv1.JobStatus, kind batchv1.JobConditionType) bool {
	c := condition(s, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}

func finished(s *batchv1.JobStatus) bool {
	return holds(s, batchv1.JobComplete) || holds(s, batchv1.JobFailed)
}

func (p *plan) set(kind batchv1.JobConditionType, status corev1.ConditionStatus, reason, message string, now metav1.Time) {
	c := batchv1.JobCondition{Type: kind, Status: status, Reason: reason, Message: message, LastProbeTime: now, LastTransitionTime: now}
	p.status.Conditions = append(slices.DeleteFunc(slices.Clone(p.status.Conditions), func(o batchv1.JobCondition) bool { return o.Type == kind }), c)
}

func tracked(p *corev1.Pod) bool { return slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) }

// state is what the pods of a Job come to.
type state struct {
	job         *batchv1.Job
	now         time.Time
	active      []*corev1.Pod // neither ended nor going
	going       []*corev1.Pod
	ready       int32
	succeeded   int32 // all that is known, counted or not
	failed      int32
	done        indexes
	lost        indexes             // that failed for good, of a Job that limits failures by index
	last        map[int]*corev1.Pod // that failed last, of each index that has to be tried again
	retries     int                 // failures since the last success
	lastFailure time.Time
	failJob     string // why the pods' failure policy ends the Job
}

// newPlan compares a Job with its pods.
func newPlan(j *batchv1.Job, pods []*corev1.Pod, now time.Time) plan {
	p := plan{status: *j.Status.DeepCopy()}
	if finished(&j.Status) {
		p.delete = slices.DeleteFunc(slices.Clone(pods), func(pod *corev1.Pod) bool { return !controller.PodActive(pod) })
		p.release = slices.DeleteFunc(slices.Clone(pods), func(pod *corev1.Pod) bool { return !tracked(pod) })
		return p
	}
	s := state{job: j, now: now}
	p.count(&s, pods)
	p.judge(&s)
	p.status.Active, p.status.Ready = int32(len(s.active)), &s.ready
	going := int32(len(s.going))
	p.status.Terminating = &going
	if j.DeletionTimestamp == nil {
		p.manage(&s)
	}
	return p
}

// count moves pods that ended through the status: noted as uncounted, then,
// once their finalizer is gone, added to the numbers.
func (p *plan) count(s *state, pods []*corev1.Pod) {
	by := make(map[types.UID]*corev1.Pod, len(pods))
	for _, pod := range pods {
		by[pod.UID] = pod
	}
	u := p.status.UncountedTerminatedPods
	if u == nil {
		u = &batchv1.UncountedTerminatedPods{}
	}
	settle := func(uids []types.UID, n *int32) (left []types.UID) {
		for _, uid := range uids {
			if pod := by[uid]; pod != nil && tracked(pod) {
				left = append(left, uid)
				p.release = append(p.release, pod)
			} else {
				*n++
			}
		}
		return left
	}
	u.Succeeded, u.Failed = settle(u.Succeeded, &p.status.Succeeded), settle(u.Failed, &p.status.Failed)
	noted := func(pod *corev1.Pod) bool {
		return slices.Contains(u.Succeeded, pod.UID) || slices.Contains(u.Failed, pod.UID)
	}
	if indexed(s.job) {
		s.done = parseIndexes(p.status.CompletedIndexes, completions(s.job))
	}
	p.lose(s, pods)
	for _, pod := range pods {
		if controller.PodActive(pod) {
			s.active = append(s.active, pod)
			if _, ready := controller.PodReady(pod); ready {
				s.ready++
			}
			continue
		}
		if !controller.PodEnded(pod) {
			s.going = append(s.going, pod)
			// One that never had a node ends as failed.
			if pod.Spec.NodeName != "" || !tracked(pod) {
				continue
			}
		}
		failed := pod.Status.Phase != corev1.PodSucceeded
		ignored := false
		if failed {
			if at := endedAt(pod); at.After(s.lastFailure) {
				s.lastFailure = at
			}
			// What is stopped because the Job is suspended has not failed.
			ignored = s.policy(pod) == batchv1.PodFailurePolicyActionIgnore || suspended(s.job) && pod.DeletionTimestamp != nil ||
				holds(&p.status, batchv1.JobSuccessCriteriaMet) // so it is with what a success makes needless
		}
		if !tracked(pod) || noted(pod) || len(p.release) >= counting || failed && s.last[indexOf(pod)] == pod && !ends(&p.status) {
			continue
		}
		p.release = append(p.release, pod)
		switch {
		case ignored:
		case failed:
			u.Failed = append(u.Failed, pod.UID)
		case indexed(s.job):
			if n := indexOf(pod); n >= 0 && !s.done.has(n) && n < completions(s.job) {
				s.done = s.done.with(n)
			}
			u.Succeeded = append(u.Succeeded, pod.UID)
		default:
			u.Succeeded = append(u.Succeeded, pod.UID)
		}
	}
	p.status.UncountedTerminatedPods = u
	if indexed(s.job) {
		p.status.CompletedIndexes = s.done.String()
		s.succeeded = int32(len(s.done))
		if len(u.Succeeded) == 0 {
			p.status.Succeeded = s.succeeded
		}
	} else {
		s.succeeded = p.status.Succeeded + int32(len(u.Succeeded))
	}
	s.failed = p.status.Failed + int32(len(u.Failed))
	s.retries = retries(pods)
}

// retries returns how many pods have failed since the last one succeeded.
func retries(pods []*corev1.Pod) (n int) {
	var success time.Time
	for _, pod := range pods {
		if at := endedAt(pod); pod.Status.Phase == corev1.PodSucceeded && at.After(success) {
			success = at
		}
	}
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodFailed && endedAt(pod).After(success) {
			n++
		}
	}
	return n
}

// pause is how long after a failure the next try begins, which is that many
// after a success.
func pause(failures int) time.Duration {
	return min(firstPause<<min(max(failures-1, 0), 10), lastPause)
}

func endedAt(p *corev1.Pod) (at time.Time) {
	for i := range p.Status.ContainerStatuses {
		if t := p.Status.ContainerStatuses[i].State.Terminated; t != nil && t.FinishedAt.After(at) {
			at = t.FinishedAt.Time
		}
	}
	if at.IsZero() {
		if c := controller.PodCondition(p, corev1.PodReady); c != nil {
			at = c.LastTransitionTime.Time
		}
	}
	if at.IsZero() {
		at = p.CreationTimestamp.Time
	}
	return at
}

// policy returns what the Job's rules for failed pods make of one (KEP-3329),
// and notes when it ends the Job.
func (s *state) policy(pod *corev1.Pod) batchv1.PodFailurePolicyAction {
	if s.job.Spec.PodFailurePolicy == nil || pod.Status.Phase != corev1.PodFailed {
		return batchv1.PodFailurePolicyActionCount
	}
	for i, r := range s.job.Spec.PodFailurePolicy.Rules {
		why := matches(pod, &r)
		if why == "" {
			continue
		}
		if r.Action == batchv1.PodFailurePolicyActionFailJob && s.failJob == "" {
			s.failJob = fmt.Sprintf("%s matching FailJob rule at index %d", why, i)
		}
		return r.Action
	}
	return batchv1.PodFailurePolicyActionCount
}

func matches(pod *corev1.Pod, r *batchv1.PodFailurePolicyRule) string {
	if e := r.OnExitCodes; e != nil {
		for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			t := c.State.Terminated
			if t == nil || t.ExitCode == 0 || e.ContainerName != nil && *e.ContainerName != c.Name {
				continue
			}
			if slices.Contains(e.Values, t.ExitCode) == (e.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
				return fmt.Sprintf("Container %s for pod %s/%s failed with exit code %d", c.Name, pod.Namespace, pod.Name, t.ExitCode)
			}
		}
	}
	for _, want := range r.OnPodConditions {
		if c := controller.PodCondition(pod, want.Type); c != nil && c.Status == want.Status {
			return fmt.Sprintf("Pod %s/%s has condition %v", pod.Namespace, pod.Name, c.Type)
		}
	}
	return ""
}

func completions(j *batchv1.Job) int {
	if j.Spec.Completions == nil {
		return 0
	}
	return int(*j.Spec.Completions)
}

func suspended(j *batchv1.Job) bool { return j.Spec.Suspend != nil && *j.Spec.Suspend }

// ends tells whether it is decided how the Job ends.
func ends(s *batchv1.JobStatus) bool {
	return holds(s, batchv1.JobFailureTarget) || holds(s, batchv1.JobSuccessCriteriaMet)
}

// judge decides whether the Job is done, has failed, or is suspended.
func (p *plan) judge(s *state) {
	j, now := s.job, metav1.NewTime(s.now)
	if p.status.StartTime == nil && !suspended(j) {
		p.status.StartTime = &now
	}
	if !ends(&p.status) {
		if reason, message := p.fails(s); reason != "" {
			p.set(batchv1.JobFailureTarget, corev1.ConditionTrue, reason, message, now)
		} else if reason, message := succeeds(s); reason != "" {
			p.set(batchv1.JobSuccessCriteriaMet, corev1.ConditionTrue, reason, message, now)
		} else if reason, message := losesTooMany(s); reason != "" {
			p.set(batchv1.JobFailureTarget, corev1.ConditionTrue, reason, message, now)
		}
	}
	p.suspend(s, now)
	// The Job has ended only when all its pods have, and all are counted.
	u := p.status.UncountedTerminatedPods
	if len(s.active) > 0 || len(s.going) > 0 || len(s.last) > 0 || u != nil && len(u.Succeeded)+len(u.Failed) > 0 {
		return
	}
	if c := condition(&p.status, batchv1.JobFailureTarget); c != nil && c.Status == corev1.ConditionTrue {
		p.set(batchv1.JobFailed, corev1.ConditionTrue, c.Reason, c.Message, now)
		p.finished = batchv1.JobFailed
		p.events = append(p.events, event{corev1.EventTypeWarning, c.Reason, c.Message})
	} else if c := condition(&p.status, batchv1.JobSuccessCriteriaMet); c != nil && c.Status == corev1.ConditionTrue {
		p.set(batchv1.JobComplete, corev1.ConditionTrue, c.Reason, c.Message, now)
		p.finished = batchv1.JobComplete
		p.status.CompletionTime = &now
		p.events = append(p.events, event{corev1.EventTypeNormal, "Completed", "Job completed"})
	}
}

func (p *plan) fails(s *state) (reason, message string) {
	j := s.job
	if s.failJob != "" {
		return batchv1.JobReasonPodFailurePolicy, s.failJob
	}
	limit := int32(6)
	if j.Spec.BackoffLimit != nil {
		limit = *j.Spec.BackoffLimit
	}
	restarts := int32(0)
	if j.Spec.Template.Spec.RestartPolicy == corev1.RestartPolicyOnFailure {
		for _, pod := range s.active {
			for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
				restarts += c.RestartCount
			}
		}
	}
	if s.failed > limit || restarts > 0 && restarts >= max(limit, 1) {
		return batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit"
	}
	if d := j.Spec.ActiveDeadlineSeconds; d != nil && p.status.StartTime != nil && !suspended(j) {
		left := p.status.StartTime.Add(time.Duration(*d) * time.Second).Sub(s.now)
		if left <= 0 {
			return batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline"
		}
		p.next = controller.Sooner(p.next, left)
	}
	return "", ""
}

func succeeds(s *state) (reason, message string) {
	if i := ruleMet(s); i >= 0 {
		return batchv1.JobReasonSuccessPolicy, fmt.Sprintf("Matched rules at index %d", i)
	}
	met := false
	if want := s.job.Spec.Completions; want == nil {
		met = s.succeeded > 0 && len(s.active) == 0 && len(s.going) == 0
	} else {
		met = s.succeeded >= *want
	}
	if !met {
		return "", ""
	}
	return batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods"
}

// ruleMet returns the first rule of the Job's success policy that holds
// (KEP-3998), -1 if none does.
func ruleMet(s *state) int {
	if s.job.Spec.SuccessPolicy == nil || !indexed(s.job) {
		return -1
	}
	return slices.IndexFunc(s.job.Spec.SuccessPolicy.Rules, func(r batchv1.SuccessPolicyRule) bool {
		have, want := len(s.done), math.MaxInt
		if r.SucceededIndexes != nil {
			of := parseIndexes(*r.SucceededIndexes, completions(s.job))
			have, want = of.common(s.done), len(of)
		}
		if r.SucceededCount != nil {
			want = int(*r.SucceededCount)
		}
		return have >= want
	})
}

func (p *plan) suspend(s *state, now metav1.Time) {
	was := condition(&p.status, batchv1.JobSuspended)
	switch {
	case suspended(s.job) && (was == nil || was.Status != corev1.ConditionTrue):
		p.set(batchv1.JobSuspended, corev1.ConditionTrue, "JobSuspended", "Job suspended", now)
		p.status.StartTime = nil
		p.events = append(p.events, event{corev1.EventTypeNormal, "Suspended", "Job suspended"})
	case !suspended(s.job) && was != nil && was.Status == corev1.ConditionTrue:
		p.set(batchv1.JobSuspended, corev1.ConditionFalse, "JobResumed", "Job resumed", now)
		p.events = append(p.events, event{corev1.EventTypeNormal, "Resumed", "Job resumed"})
		p.status.StartTime = &now // its deadline starts anew
	}
}

// manage makes and deletes pods.
func (p *plan) manage(s *state) {
	if suspended(s.job) || ends(&p.status) {
		p.delete = append(p.delete, s.active...)
		return
	}
	wanted := 1
	if s.job.Spec.Parallelism != nil {
		wanted = int(*s.job.Spec.Parallelism)
	}
	switch {
	case s.job.Spec.Completions != nil:
		wanted = max(min(wanted, completions(s.job)-int(s.succeeded)-len(s.lost)), 0)
	case s.succeeded > 0:
		wanted = min(wanted, len(s.active)) // the work is done; who is at it may finish
	}
	keep := s.active
	if indexed(s.job) {
		keep = p.unique(s)
	}
	if extra := len(keep) - wanted; extra > 0 {
		pods := slices.Clone(keep)
		controller.SortForDeletion(pods, pods, s.now)
		p.delete = append(p.delete, pods[:extra]...)
		return
	}
	if r := s.job.Spec.PodReplacementPolicy; r != nil && *r == batchv1.Failed {
		keep = slices.Concat(keep, s.going) // they are replaced only when they are gone
	}
	missing := wanted - len(keep)
	if missing <= 0 {
		return
	}
	if !limitedByIndex(s.job) && s.retries > 0 {
		if left := s.lastFailure.Add(pause(s.retries)).Sub(s.now); left > 0 {
			p.next = controller.Sooner(p.next, left)
			return
		}
	}
	if !indexed(s.job) {
		for range missing {
			p.create = append(p.create, creation{index: -1})
		}
		return
	}
	taken := map[int]bool{}
	for _, pod := range keep {
		taken[indexOf(pod)] = true
	}
	for n := 0; n < completions(s.job) && missing > 0; n++ {
		if taken[n] || s.done.has(n) || s.lost.has(n) {
			continue
		}
		if left := s.untilRetry(n); left > 0 {
			p.next = controller.Sooner(p.next, left)
			continue
		}
		p.create = append(p.create, creation{index: n, after: s.before(n)})
		missing--
	}
}

// unique deletes active pods of indexes that are done or already have one, and
// returns the rest.
func (p *plan) unique(s *state) (keep []*corev1.Pod) {
	seen := map[int]bool{}
	for _, pod := range s.active {
		n := indexOf(pod)
		if n < 0 || n >= completions(s.job) || seen[n] || s.done.has(n) || s.lost.has(n) {
			p.delete = append(p.delete, pod)
			continue
		}
		seen[n] = true
		keep = append(keep, pod)
	}
	return keep
}
