// Package job runs the pods of Jobs to completion.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"clipper/internal/controller"
)

// Config is what the controller is built from.
type Config = controller.Config

// Controller is the Job controller.
type Controller struct {
	*controller.Loop[controller.Key]
	Config
	events  record.EventRecorder
	jobs    batchlisters.JobLister
	pods    cache.Indexer
	writer  controller.PodWriter
	pending *controller.Pending
}

const (
	workers = 5
	burst   = 500
)

var kind = batchv1.SchemeGroupVersion.WithKind("Job")

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	jobs, pods := c.Informers.Batch().V1().Jobs(), c.Informers.Core().V1().Pods().Informer()
	events := c.Events.For("job-controller")
	j := &Controller{
		Config: c, events: events, jobs: jobs.Lister(), pods: controller.IndexByOwner(pods),
		writer: controller.PodWriter{Client: c.Client, Events: events}, pending: controller.NewPending(c.Clock),
	}
	j.Loop = controller.NewLoop("job-controller", c, workers, j.sync)
	j.Watch(jobs.Informer(), controller.On(func(before, now *batchv1.Job) {
		if now == nil {
			j.pending.Forget(before.UID)
			now = before // its pods have yet to lose their finalizers
		}
		j.Add(controller.KeyOf(now))
	}))
	j.Watch(pods, controller.On(j.podChanged))
	return j
}

func (j *Controller) podChanged(before, now *corev1.Pod) {
	if j.pending.Saw(before, now, kind.Kind) == controller.More {
		return
	}
	for _, p := range []*corev1.Pod{before, now} {
		if p == nil {
			continue
		}
		if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
			if ref.Kind == kind.Kind {
				j.Add(controller.Key{Namespace: p.Namespace, Name: ref.Name})
			}
			continue
		}
		if p != now {
			continue
		}
		if tracked(p) && before != nil && metav1.GetControllerOfNoCopy(before) != nil {
			// It was released: nobody counts it any more.
			j.Add(controller.Key{Namespace: p.Namespace, Name: metav1.GetControllerOfNoCopy(before).Name})
		}
		if before != nil && maps.Equal(before.Labels, now.Labels) {
			continue
		}
		all, _ := j.jobs.Jobs(p.Namespace).List(labels.Everything())
		for _, v := range all {
			if s, err := metav1.LabelSelectorAsSelector(v.Spec.Selector); err == nil && !s.Empty() && s.Matches(labels.Set(p.Labels)) {
				j.Add(controller.KeyOf(v))
			}
		}
	}
}

func (j *Controller) sync(ctx context.Context, key controller.Key) error {
	job, err := j.jobs.Jobs(key.Namespace).Get(key.Name)
	if controller.IgnoreNotFound(err) != nil {
		return err
	}
	if err := j.letGo(ctx, key, job); err != nil || job == nil {
		return err
	}
	if m := job.Spec.ManagedBy; m != nil && *m != batchv1.JobControllerName {
		return nil
	}
	if wait := j.pending.Wait(job.UID); wait > 0 {
		j.AddAfter(key, wait)
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(job.Spec.Selector)
	if err != nil {
		return err
	}
	client := j.Client.BatchV1().Jobs(key.Namespace)
	claim := controller.Claim[corev1.Pod]{
		Owner: job, Kind: kind, Selector: selector,
		Live: func(ctx context.Context) (metav1.Object, error) {
			return client.Get(ctx, key.Name, metav1.GetOptions{})
		},
		Patch: func(ctx context.Context, name string, patch []byte) error {
			_, err := j.Client.CoreV1().Pods(key.Namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		Adoptable: func(*corev1.Pod) bool { return !finished(&job.Status) },
	}
	pods, err := claim.Of(ctx, controller.Owned[corev1.Pod](j.pods, job.UID), controller.Orphans[corev1.Pod](j.pods, key.Namespace))
	if err != nil {
		return err
	}
	p := newPlan(job, pods, j.Clock.Now())
	if p.next > 0 {
		j.AddAfter(key, p.next)
	}
	// The status first: what it notes as ended may lose its finalizer.
	if !equality.Semantic.DeepEqual(job.Status, p.status) {
		w := *job
		w.Status = p.status
		if _, err := client.UpdateStatus(ctx, &w, metav1.UpdateOptions{}); err != nil {
			return controller.IgnoreNotFound(err)
		}
		for _, e := range p.events {
			j.events.Event(job, e.kind, e.reason, e.message)
		}
	}
	return j.apply(ctx, job, p)
}

func (j *Controller) apply(ctx context.Context, job *batchv1.Job, p plan) error {
	_, err1 := controller.AllAtOnce(len(p.release), func(i int) error { return j.untrack(ctx, p.release[i]) })
	remove := p.delete[:min(len(p.delete), burst)]
	_, err2 := controller.AllAtOnce(len(remove), func(i int) error {
		pod := remove[i]
		j.pending.Delete(job.UID, pod.UID)
		err := j.writer.Delete(ctx, job, pod.Name, pod.UID)
		if err != nil {
			j.pending.Deleted(job.UID, pod.UID)
		}
		return controller.GoneOrChanged(err)
	})
	create := p.create[:min(len(p.create), burst)]
	j.pending.Create(job.UID, len(create))
	made, err3 := controller.SlowStart(len(create), func(i int) error {
		_, err := j.writer.Create(ctx, job, podOf(job, create[i]))
		return err
	})
	if made < len(create) {
		j.pending.Create(job.UID, made-len(create))
	}
	if controller.NamespaceEnds(err3) {
		err3 = nil
	}
	return errors.Join(err1, err2, err3)
}

// untrack lets a pod go that has been counted.
func (j *Controller) untrack(ctx context.Context, p *corev1.Pod) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": p.UID, "$deleteFromPrimitiveList/finalizers": []string{batchv1.JobTrackingFinalizer},
	}})
	if err != nil {
		return err
	}
	_, err = j.Client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{})
	return controller.GoneOrChanged(err)
}

// letGo frees pods from finalizers of a Job that is gone, or that they have
// been released from.
func (j *Controller) letGo(ctx context.Context, key controller.Key, job *batchv1.Job) error {
	var lost []*corev1.Pod
	for _, p := range controller.Orphans[corev1.Pod](j.pods, key.Namespace) {
		if tracked(p) && p.Labels[batchv1.JobNameLabel] == key.Name {
			lost = append(lost, p)
		}
	}
	if job == nil {
		objs, err := j.pods.ByIndex(cache.NamespaceIndex, key.Namespace)
		if err != nil {
			return err
		}
		for _, o := range objs {
			p, ok := o.(*corev1.Pod)
			if !ok || !tracked(p) {
				continue
			}
			if ref := metav1.GetControllerOfNoCopy(p); ref != nil && ref.Kind == kind.Kind && ref.Name == key.Name {
				lost = append(lost, p)
			}
		}
	}
	_, err := controller.AllAtOnce(len(lost), func(i int) error { return j.untrack(ctx, lost[i]) })
	return err
}

// podOf returns a pod of the Job.
func podOf(job *batchv1.Job, c creation) *corev1.Pod {
	p := controller.PodOf(&job.Spec.Template, job, kind)
	p.Finalizers = append(p.Finalizers, batchv1.JobTrackingFinalizer)
	if c.index < 0 {
		return p
	}
	n := strconv.Itoa(c.index)
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Annotations[batchv1.JobCompletionIndexAnnotation], p.Labels[batchv1.JobCompletionIndexAnnotation] = n, n
	if limitedByIndex(job) {
		p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(c.after.counted)
		if c.after.ignored > 0 {
			p.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation] = strconv.Itoa(c.after.ignored)
		}
	}
	p.GenerateName = fmt.Sprintf("%s-%s-", job.Name, n)
	p.Spec.Hostname = job.Name + "-" + n
	env := corev1.EnvVar{Name: "JOB_COMPLETION_INDEX", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation)},
	}}
	for _, containers := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == env.Name }) {
				c.Env = append(c.Env, env)
			}
		}
	}
	return p
}
