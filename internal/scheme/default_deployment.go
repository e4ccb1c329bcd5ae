package scheme

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func defaultDeployment(d *appsv1.Deployment) {
	s := &d.Spec
	point(&s.Replicas, 1)
	point(&s.RevisionHistoryLimit, 10)
	point(&s.ProgressDeadlineSeconds, 600)
	fill(&s.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
	if s.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		point(&s.Strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		point(&s.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		point(&s.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	defaultPodSpec(&s.Template.Spec)
}
