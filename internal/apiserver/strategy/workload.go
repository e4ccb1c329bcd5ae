package strategy

import (
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

func apps() map[string]*Strategy {
	return map[string]*Strategy{
		"deployments": with(halves(
			func(d *appsv1.Deployment) *appsv1.DeploymentSpec { return &d.Spec },
			func(d *appsv1.Deployment) *appsv1.DeploymentStatus { return &d.Status },
			true, keepLabels), func(s *Strategy) {
			s.Scale = scale(func(d *appsv1.Deployment) replicas {
				return replicas{&d.Spec.Replicas, d.Status.Replicas, selector(d.Spec.Selector)}
			})
			// A rollout takes annotations along, so they are part of what is counted.
			update := s.Update
			s.Update = func(o, was runtime.Object) {
				update(o, was)
				if d, old := o.(*appsv1.Deployment), was.(*appsv1.Deployment); !maps.Equal(d.Annotations, old.Annotations) {
					d.Generation = old.Generation + 1
				}
			}
		}),
		"replicasets": with(halves(
			func(r *appsv1.ReplicaSet) *appsv1.ReplicaSetSpec { return &r.Spec },
			func(r *appsv1.ReplicaSet) *appsv1.ReplicaSetStatus { return &r.Status },
			true, keepLabels), func(s *Strategy) {
			s.Scale = scale(func(r *appsv1.ReplicaSet) replicas {
				return replicas{&r.Spec.Replicas, r.Status.Replicas, selector(r.Spec.Selector)}
			})
		}),
		"statefulsets": with(halves(
			func(t *appsv1.StatefulSet) *appsv1.StatefulSetSpec { return &t.Spec },
			func(t *appsv1.StatefulSet) *appsv1.StatefulSetStatus { return &t.Status },
			true, nil), func(s *Strategy) {
			s.Scale = scale(func(t *appsv1.StatefulSet) replicas {
				return replicas{&t.Spec.Replicas, t.Status.Replicas, selector(t.Spec.Selector)}
			})
			first(s, claimTemplates)
		}),
		"daemonsets": with(halves(
			func(d *appsv1.DaemonSet) *appsv1.DaemonSetSpec { return &d.Spec },
			func(d *appsv1.DaemonSet) *appsv1.DaemonSetStatus { return &d.Status },
			true, nil), func(s *Strategy) {
			create, update := s.Create, s.Update
			s.Create = func(o runtime.Object) {
				create(o)
				countTemplates(o.(*appsv1.DaemonSet), nil)
			}
			s.Update = func(o, old runtime.Object) {
				update(o, old)
				countTemplates(o.(*appsv1.DaemonSet), old.(*appsv1.DaemonSet))
			}
		}),
	}
}

// claimTemplates has a StatefulSet's templates say what they are. What
// MaxUnavailableStatefulSet, which is off, is about is left out.
func claimTemplates(t *appsv1.StatefulSet) {
	if r := t.Spec.UpdateStrategy.RollingUpdate; r != nil && r.MaxUnavailable != nil {
		left := *r
		left.MaxUnavailable = nil
		t.Spec.UpdateStrategy.RollingUpdate = &left
	}
	for i := range t.Spec.VolumeClaimTemplates {
		t.Spec.VolumeClaimTemplates[i].TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	}
}

// countTemplates numbers a DaemonSet's templates in an annotation, which was a
// field of older versions.
func countTemplates(d, old *appsv1.DaemonSet) {
	n := int64(0)
	if old != nil {
		n, _ = strconv.ParseInt(old.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	}
	if old == nil || n < 1 || !equality.Semantic.DeepEqual(d.Spec.Template, old.Spec.Template) {
		n = max(n, 0) + 1
	}
	text := strconv.FormatInt(n, 10)
	if d.Annotations[appsv1.DeprecatedTemplateGeneration] == text {
		return
	}
	d.Annotations = maps.Clone(d.Annotations)
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[appsv1.DeprecatedTemplateGeneration] = text
}

func replicationController() *Strategy {
	s := halves(
		func(r *corev1.ReplicationController) *corev1.ReplicationControllerSpec { return &r.Spec },
		func(r *corev1.ReplicationController) *corev1.ReplicationControllerStatus { return &r.Status },
		true, nil)
	s.OrphanDependents = true
	s.Scale = scale(func(r *corev1.ReplicationController) replicas {
		return replicas{&r.Spec.Replicas, r.Status.Replicas, labels.SelectorFromSet(r.Spec.Selector).String()}
	})
	return s
}

func batch() map[string]*Strategy {
	return map[string]*Strategy{
		"jobs": with(halves(
			func(j *batchv1.Job) *batchv1.JobSpec { return &j.Spec },
			func(j *batchv1.Job) *batchv1.JobStatus { return &j.Status },
			true, nil), func(s *Strategy) {
			s.OrphanDependents = true
			s.Orphaned = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning"
			create := s.Create
			s.Create = func(o runtime.Object) {
				create(o)
				selectOwn(o.(*batchv1.Job))
			}
			s.Judged = labelled
		}),
		"cronjobs": halves(
			func(c *batchv1.CronJob) *batchv1.CronJobSpec { return &c.Spec },
			func(c *batchv1.CronJob) *batchv1.CronJobStatus { return &c.Status },
			true, nil),
	}
}

// selectOwn gives a Job's pods labels that no others have, and the Job the
// selector of them, unless its user sees to both. The labels without a prefix
// are what older clients know. What the user set otherwise is left for
// validation to refuse.
func selectOwn(j *batchv1.Job) {
	if j.Spec.ManualSelector != nil && *j.Spec.ManualSelector {
		return
	}
	t := &j.Spec.Template
	if t.Labels == nil {
		t.Labels = map[string]string{}
	}
	for key, value := range map[string]string{
		batchv1.ControllerUidLabel: string(j.UID), batchv1.JobNameLabel: j.Name,
		"controller-uid": string(j.UID), "job-name": j.Name,
	} {
		if _, set := t.Labels[key]; !set {
			t.Labels[key] = value
		}
	}
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = map[string]string{}
	}
	if _, set := j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel]; !set {
		j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] = string(j.UID)
	}
	j.Labels = maps.Clone(j.Labels) // which may be the very map of its pods, see the defaults
}

// labelled gives a Job without labels those of its pods, as its defaults do
// when it is read: what is wrong with them is said of its pods alone.
func labelled(o runtime.Object) {
	if j := o.(*batchv1.Job); len(j.Labels) == 0 {
		j.Labels = maps.Clone(j.Spec.Template.Labels)
	}
}

// replicas is what a Scale shows of a workload.
type replicas struct {
	wanted   **int32
	observed int32
	selector string
}

func selector(s *metav1.LabelSelector) string {
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return ""
	}
	return sel.String()
}

func scale[T any, PT object[T]](of func(PT) replicas) *Scale {
	return &Scale{
		Get: func(o runtime.Object) *autoscalingv1.Scale {
			obj := o.(PT)
			r := of(obj)
			s := &autoscalingv1.Scale{
				TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
				ObjectMeta: metav1.ObjectMeta{
					Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
					ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp(),
				},
				Status: autoscalingv1.ScaleStatus{Replicas: r.observed, Selector: r.selector},
			}
			if *r.wanted != nil {
				s.Spec.Replicas = **r.wanted
			}
			return s
		},
		Set: func(o runtime.Object, n int32) { *of(o.(PT)).wanted = &n },
	}
}
