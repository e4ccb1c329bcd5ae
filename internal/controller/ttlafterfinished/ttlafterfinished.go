// Package ttlafterfinished deletes Jobs that have outlived their time after
// their end (KEP-592).
package ttlafterfinished

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	batchlisters "k8s.io/client-go/listers/batch/v1"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the one of Jobs' time after their end.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	jobs batchlisters.JobLister
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	jobs := c.Informers.Batch().V1().Jobs()
	t := &Controller{Config: c, jobs: jobs.Lister()}
	t.Loop = controller.NewLoop("ttl-after-finished-controller", c, 5, t.sync)
	t.Watch(jobs.Informer(), controller.On(func(_, now *batchv1.Job) {
		if now != nil && !expires(now).IsZero() {
			t.Add(controller.KeyOf(now))
		}
	}))
	return t
}

// expires returns when the Job is to be deleted: zero for one that is to stay,
// has not ended, or is being deleted.
func expires(j *batchv1.Job) time.Time {
	if j.Spec.TTLSecondsAfterFinished == nil || j.DeletionTimestamp != nil {
		return time.Time{}
	}
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue && !c.LastTransitionTime.IsZero() {
			return c.LastTransitionTime.Add(time.Duration(*j.Spec.TTLSecondsAfterFinished) * time.Second)
		}
	}
	return time.Time{}
}

func (t *Controller) sync(ctx context.Context, key controller.Key) error {
	j, err := t.jobs.Jobs(key.Namespace).Get(key.Name)
	if err != nil {
		return controller.IgnoreNotFound(err)
	}
	at := expires(j)
	if at.IsZero() {
		return nil
	}
	if left := at.Sub(t.Clock.Now()); left > 0 {
		t.AddAfter(key, left)
		return nil
	}
	// Of the very version that was looked at: its time may have been prolonged
	// meanwhile. What was brings the next look.
	foreground := metav1.DeletePropagationForeground
	return controller.GoneOrChanged(t.Client.BatchV1().Jobs(j.Namespace).Delete(ctx, j.Name, metav1.DeleteOptions{
		PropagationPolicy: &foreground,
		Preconditions:     &metav1.Preconditions{UID: &j.UID, ResourceVersion: &j.ResourceVersion},
	}))
}
