package strategy

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// podSpecs are where the kinds that describe pods do so.
func podSpecs() map[schema.GroupResource]func(runtime.Object) *corev1.PodSpec {
	return map[schema.GroupResource]func(runtime.Object) *corev1.PodSpec{
		{Resource: "pods"}:         func(o runtime.Object) *corev1.PodSpec { return &o.(*corev1.Pod).Spec },
		{Resource: "podtemplates"}: func(o runtime.Object) *corev1.PodSpec { return &o.(*corev1.PodTemplate).Template.Spec },
		{Resource: "replicationcontrollers"}: func(o runtime.Object) *corev1.PodSpec {
			if t := o.(*corev1.ReplicationController).Spec.Template; t != nil {
				return &t.Spec
			}
			return nil
		},
		{Group: "apps", Resource: "daemonsets"}:   func(o runtime.Object) *corev1.PodSpec { return &o.(*appsv1.DaemonSet).Spec.Template.Spec },
		{Group: "apps", Resource: "deployments"}:  func(o runtime.Object) *corev1.PodSpec { return &o.(*appsv1.Deployment).Spec.Template.Spec },
		{Group: "apps", Resource: "replicasets"}:  func(o runtime.Object) *corev1.PodSpec { return &o.(*appsv1.ReplicaSet).Spec.Template.Spec },
		{Group: "apps", Resource: "statefulsets"}: func(o runtime.Object) *corev1.PodSpec { return &o.(*appsv1.StatefulSet).Spec.Template.Spec },
		{Group: "batch", Resource: "jobs"}:        func(o runtime.Object) *corev1.PodSpec { return &o.(*batchv1.Job).Spec.Template.Spec },
		{Group: "batch", Resource: "cronjobs"}: func(o runtime.Object) *corev1.PodSpec {
			return &o.(*batchv1.CronJob).Spec.JobTemplate.Spec.Template.Spec
		},
	}
}

// withoutDisabled has what an object says by fields of features that v1.36 has
// off left out, before anything else looks at it.
func withoutDisabled(s *Strategy, spec func(runtime.Object) *corev1.PodSpec) {
	drop := func(o runtime.Object) {
		if p := spec(o); p != nil {
			dropStopSignals(p)
		}
	}
	first(s, drop)
	if ephemeral := s.Sub["ephemeralcontainers"]; ephemeral != nil {
		s.Sub["ephemeralcontainers"] = func(o, was runtime.Object) {
			drop(o)
			ephemeral(o, was)
		}
	}
}

// dropStopSignals: ContainerStopSignals is alpha.
func dropStopSignals(s *corev1.PodSpec) {
	drop := func(l **corev1.Lifecycle) {
		if *l == nil || (*l).StopSignal == nil {
			return
		}
		left := **l
		left.StopSignal = nil
		*l = nil
		if left != (corev1.Lifecycle{}) {
			*l = &left
		}
	}
	for i := range s.InitContainers {
		drop(&s.InitContainers[i].Lifecycle)
	}
	for i := range s.Containers {
		drop(&s.Containers[i].Lifecycle)
	}
	for i := range s.EphemeralContainers {
		drop(&s.EphemeralContainers[i].Lifecycle)
	}
}
