package scheme

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

func defaultAutoscaler(a *autoscalingv2.HorizontalPodAutoscaler) {
	s := &a.Spec
	point(&s.MinReplicas, 1)
	if len(s.Metrics) == 0 {
		s.Metrics = []autoscalingv2.MetricSpec{cpuMetric(80)}
	}
	if s.Behavior == nil {
		return
	}
	point(&s.Behavior.ScaleUp, autoscalingv2.HPAScalingRules{})
	up := s.Behavior.ScaleUp
	point(&up.StabilizationWindowSeconds, 0)
	defaultRules(up,
		autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
		autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15})
	point(&s.Behavior.ScaleDown, autoscalingv2.HPAScalingRules{})
	defaultRules(s.Behavior.ScaleDown,
		autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15})
}

func defaultRules(r *autoscalingv2.HPAScalingRules, policies ...autoscalingv2.HPAScalingPolicy) {
	point(&r.SelectPolicy, autoscalingv2.MaxChangePolicySelect)
	if r.Policies == nil {
		r.Policies = policies
	}
}

// cpuMetric asks for a use of the CPU in percent of what is requested.
func cpuMetric(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
		},
	}
}

// What v1 says of metrics is in annotations too, so the rest of its defaults
// come with the conversion.
func defaultAutoscalerV1(a *autoscalingv1.HorizontalPodAutoscaler) { point(&a.Spec.MinReplicas, 1) }
