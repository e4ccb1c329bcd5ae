package scheme

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func defaultDaemonSet(d *appsv1.DaemonSet) {
	s := &d.Spec
	point(&s.RevisionHistoryLimit, 10)
	fill(&s.UpdateStrategy.Type, appsv1.RollingUpdateDaemonSetStrategyType)
	if s.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		point(&s.UpdateStrategy.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		point(&s.UpdateStrategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		point(&s.UpdateStrategy.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
	defaultPodSpec(&s.Template.Spec)
}
