// Package cronjob makes a Job of each CronJob whenever it is due, and removes
// the oldest Jobs that have ended. A CronJob has one timer, for its next time.
package cronjob

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the CronJob controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	events  record.EventRecorder
	crons   batchlisters.CronJobLister
	jobs    cache.Indexer
	pending *controller.Pending
}

const (
	workers = 5
	// missedMany is from how many missed times on something is said to be wrong.
	missedMany = 100
	timestamp  = "batch.kubernetes.io/cronjob-scheduled-timestamp"
)

var kind = batchv1.SchemeGroupVersion.WithKind("CronJob")

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	crons, jobs := c.Informers.Batch().V1().CronJobs(), c.Informers.Batch().V1().Jobs().Informer()
	r := &Controller{
		Config: c, events: c.Events.For("cronjob-controller"), crons: crons.Lister(), jobs: controller.IndexByOwner(jobs),
		pending: controller.NewPending(c.Clock),
	}
	r.Loop = controller.NewLoop("cronjob-controller", c, workers, r.sync)
	r.Watch(crons.Informer(), controller.On(func(before, now *batchv1.CronJob) {
		if now == nil {
			r.pending.Forget(before.UID)
			return
		}
		r.Add(controller.KeyOf(now))
	}))
	r.Watch(jobs, controller.On(func(before, now *batchv1.Job) {
		if ref := controller.NewOf(before, now, kind.Kind); ref != nil {
			r.pending.Created(ref.UID)
		}
		for _, j := range []*batchv1.Job{before, now} {
			if j == nil {
				continue
			}
			if ref := metav1.GetControllerOfNoCopy(j); ref != nil && ref.Kind == kind.Kind {
				r.Add(controller.Key{Namespace: j.Namespace, Name: ref.Name})
			}
		}
	}))
	return r
}

// ended returns the condition a Job ended with, "" if it has not.
func ended(j *batchv1.Job) batchv1.JobConditionType {
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c.Type
		}
	}
	return ""
}

func (r *Controller) sync(ctx context.Context, key controller.Key) error {
	c, err := r.crons.CronJobs(key.Namespace).Get(key.Name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	if wait := r.pending.Wait(c.UID); wait > 0 {
		r.AddAfter(key, wait) // its new Job has yet to show in the cache
		return nil
	}
	jobs := controller.Owned[batchv1.Job](r.jobs, c.UID)
	slices.SortFunc(jobs, func(a, b *batchv1.Job) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	status := *c.Status.DeepCopy()
	r.follow(c, jobs, &status)
	made := r.start(ctx, c, jobs, &status)
	if err := r.writeStatus(ctx, c, status); err != nil {
		return err
	}
	if made != nil {
		return made
	}
	return r.trim(ctx, c, jobs)
}

func (r *Controller) writeStatus(ctx context.Context, c *batchv1.CronJob, status batchv1.CronJobStatus) error {
	if equality.Semantic.DeepEqual(c.Status, status) {
		return nil
	}
	w := *c
	w.Status = status
	_, err := r.Client.BatchV1().CronJobs(c.Namespace).UpdateStatus(ctx, &w, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}

// follow brings the list of active Jobs up to date.
func (r *Controller) follow(c *batchv1.CronJob, jobs []*batchv1.Job, s *batchv1.CronJobStatus) {
	by := map[string]*batchv1.Job{}
	for _, j := range jobs {
		by[j.Name] = j
		listed := slices.ContainsFunc(s.Active, func(a corev1.ObjectReference) bool { return a.UID == j.UID })
		switch how := ended(j); {
		case how == "" && !listed:
			s.Active = append(s.Active, refTo(j))
		case how != "" && listed:
			s.Active = slices.DeleteFunc(s.Active, func(a corev1.ObjectReference) bool { return a.UID == j.UID })
			r.events.Eventf(c, corev1.EventTypeNormal, "SawCompletedJob", "Saw completed job: %s, condition: %v", j.Name, how)
		}
		if t := j.Status.CompletionTime; ended(j) == batchv1.JobComplete && t != nil && (s.LastSuccessfulTime == nil || s.LastSuccessfulTime.Before(t)) {
			s.LastSuccessfulTime = t
		}
	}
	s.Active = slices.DeleteFunc(s.Active, func(a corev1.ObjectReference) bool {
		j := by[a.Name]
		gone := j == nil || j.UID != a.UID
		if gone {
			r.events.Eventf(c, corev1.EventTypeNormal, "MissingJob", "Active job went missing: %v", a.Name)
		}
		return gone
	})
	if len(s.Active) == 0 {
		s.Active = nil
	}
}

func refTo(j *batchv1.Job) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job", Namespace: j.Namespace, Name: j.Name,
		UID: j.UID, ResourceVersion: j.ResourceVersion,
	}
}

// start makes the Job that is due, if one is, and sets the timer for the next.
func (r *Controller) start(ctx context.Context, c *batchv1.CronJob, jobs []*batchv1.Job, s *batchv1.CronJobStatus) error {
	if c.DeletionTimestamp != nil || c.Spec.Suspend != nil && *c.Spec.Suspend {
		return nil
	}
	zone := time.Local
	if c.Spec.TimeZone != nil {
		var err error
		if zone, err = time.LoadLocation(*c.Spec.TimeZone); err != nil {
			r.events.Eventf(c, corev1.EventTypeWarning, "UnknownTimeZone", "invalid timeZone: %q: %s", *c.Spec.TimeZone, err)
			return nil
		}
	}
	when, err := parse(strings.TrimSpace(c.Spec.Schedule), zone)
	if err != nil {
		r.events.Eventf(c, corev1.EventTypeWarning, "UnparseableSchedule", "unparseable schedule: %q : %s", c.Spec.Schedule, err)
		return nil // a new schedule brings the next look
	}
	now := r.Clock.Now()
	last, missed, next, err := due(c, when, now)
	if err != nil {
		r.events.Eventf(c, corev1.EventTypeWarning, "InvalidSchedule", "invalid schedule: %s : %s", c.Spec.Schedule, err)
		return nil
	}
	r.AddAfter(controller.KeyOf(c), next.Sub(now))
	if missed > missedMany {
		r.events.Eventf(c, corev1.EventTypeWarning, "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	if last.IsZero() {
		return nil
	}
	if d := c.Spec.StartingDeadlineSeconds; d != nil && last.Add(time.Duration(*d)*time.Second).Before(now) {
		r.events.Eventf(c, corev1.EventTypeWarning, "MissSchedule", "Missed scheduled time to start a job: %s", last.UTC().Format(time.RFC1123Z))
		return nil
	}
	if s.LastScheduleTime != nil && !s.LastScheduleTime.Time.Before(last) || slices.ContainsFunc(jobs, func(j *batchv1.Job) bool { return j.Name == jobName(c, last) }) {
		return nil // it has been made
	}
	switch {
	case c.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent && len(s.Active) > 0:
		r.events.Eventf(c, corev1.EventTypeNormal, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
		return nil
	case c.Spec.ConcurrencyPolicy == batchv1.ReplaceConcurrent:
		for _, a := range s.Active {
			if err := r.delete(ctx, c, a.Name, a.UID); err != nil {
				return err
			}
		}
		s.Active = nil
	}
	job := jobOf(c, last, zone)
	r.pending.Create(c.UID, 1)
	made, err := r.Client.BatchV1().Jobs(c.Namespace).Create(ctx, job, metav1.CreateOptions{})
	if err != nil {
		r.pending.Create(c.UID, -1)
	}
	switch {
	case err == nil:
		r.events.Eventf(c, corev1.EventTypeNormal, "SuccessfulCreate", "Created job %v", made.Name)
		s.Active = append(s.Active, refTo(made))
	case apierrors.IsAlreadyExists(err): // the cache is behind
	case controller.NamespaceEnds(err):
		return nil
	default:
		if ctx.Err() == nil {
			r.events.Eventf(c, corev1.EventTypeWarning, "FailedCreate", "Error creating job: %v", err)
		}
		return fmt.Errorf("create job %s: %w", job.Name, err)
	}
	s.LastScheduleTime = &metav1.Time{Time: last}
	return nil
}

// due returns the last time up to now that the CronJob was due and has not
// been started for, how many there were, and the next.
func due(c *batchv1.CronJob, s *schedule, now time.Time) (last time.Time, missed int, next time.Time, err error) {
	from := c.CreationTimestamp.Time
	if t := c.Status.LastScheduleTime; t != nil {
		from = t.Time
	}
	if d := c.Spec.StartingDeadlineSeconds; d != nil {
		if earliest := now.Add(-time.Duration(*d) * time.Second); earliest.After(from) {
			from = earliest
		}
	}
	if next, err = s.after(from); err != nil {
		return last, 0, next, err
	}
	if behind := now.Sub(next); behind > 0 {
		// After a long stop the times between are only counted, roughly: what
		// matters is the last of them.
		second, err := s.after(next)
		if err != nil {
			return next, 1, now.Add(time.Hour), nil
		}
		if period := second.Sub(next); s.every > 0 && period > 0 {
			n := int(behind / period)
			missed += n
			next = next.Add(time.Duration(n) * period)
		}
	}
	for !next.After(now) {
		last = next
		missed++
		if next, err = s.after(last); err != nil {
			return last, missed, now.Add(time.Hour), nil
		}
	}
	return last, missed, next, nil
}

func jobName(c *batchv1.CronJob, at time.Time) string {
	return fmt.Sprintf("%s-%d", c.Name, at.Unix()/60)
}

func jobOf(c *batchv1.CronJob, at time.Time, zone *time.Location) *batchv1.Job {
	t := &c.Spec.JobTemplate
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: jobName(c, at), Namespace: c.Namespace, Labels: maps.Clone(t.Labels), Annotations: maps.Clone(t.Annotations),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, kind)},
	}}
	if j.Annotations == nil {
		j.Annotations = map[string]string{}
	}
	j.Annotations[timestamp] = at.In(zone).Format(time.RFC3339)
	t.Spec.DeepCopyInto(&j.Spec)
	return j
}

func (r *Controller) delete(ctx context.Context, c *batchv1.CronJob, name string, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	err := r.Client.BatchV1().Jobs(c.Namespace).Delete(ctx, name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	switch {
	case err == nil:
		r.events.Eventf(c, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted job %v", name)
	case controller.GoneOrChanged(err) != nil && ctx.Err() == nil:
		r.events.Eventf(c, corev1.EventTypeWarning, "FailedDelete", "Deleted job: %v", err)
	}
	return controller.GoneOrChanged(err)
}

// trim deletes the oldest ended Jobs beyond those that history is kept of.
func (r *Controller) trim(ctx context.Context, c *batchv1.CronJob, jobs []*batchv1.Job) error {
	limits := map[batchv1.JobConditionType]*int32{
		batchv1.JobComplete: c.Spec.SuccessfulJobsHistoryLimit, batchv1.JobFailed: c.Spec.FailedJobsHistoryLimit,
	}
	for how, limit := range limits {
		if limit == nil {
			continue
		}
		of := slices.DeleteFunc(slices.Clone(jobs), func(j *batchv1.Job) bool { return ended(j) != how || j.DeletionTimestamp != nil })
		for i := range max(len(of)-int(*limit), 0) {
			if err := r.delete(ctx, c, of[i].Name, of[i].UID); err != nil {
				return err
			}
		}
	}
	return nil
}
