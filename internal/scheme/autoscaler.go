package scheme

import (
	"encoding/json"
	"fmt"
	"maps"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
)

// autoscaling/v1 has a field for one metric, the use of the CPU. What else
// there is to an autoscaler it says in annotations, as JSON, which no other
// version shows.
const (
	metricsAnnotation    = "autoscaling.alpha.kubernetes.io/metrics"
	behaviorAnnotation   = "autoscaling.alpha.kubernetes.io/behavior"
	conditionsAnnotation = "autoscaling.alpha.kubernetes.io/conditions"
	currentAnnotation    = "autoscaling.alpha.kubernetes.io/current-metrics"
)

// behavior is v2's behavior as the annotation spells it.
type behavior struct{ ScaleUp, ScaleDown *scalingRules }

type scalingRules struct {
	StabilizationWindowSeconds *int32
	SelectPolicy               *autoscalingv2.ScalingPolicySelect
	Policies                   []scalingPolicy
	Tolerance                  *resource.Quantity
}

type scalingPolicy struct {
	Type                 autoscalingv2.HPAScalingPolicyType
	Value, PeriodSeconds int32
}

// autoscalerToStored turns autoscaling/v1 into v2, which is stored, with v2's
// defaults. An annotation that cannot be read says nothing.
func autoscalerToStored(o runtime.Object) (runtime.Object, error) {
	a, ok := o.(*autoscalingv1.HorizontalPodAutoscaler)
	if !ok {
		return nil, fmt.Errorf("not an autoscaling/v1 HorizontalPodAutoscaler: %T", o)
	}
	out := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: a.ObjectMeta,
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(a.Spec.ScaleTargetRef),
			MinReplicas:    a.Spec.MinReplicas, MaxReplicas: a.Spec.MaxReplicas,
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			ObservedGeneration: a.Status.ObservedGeneration, LastScaleTime: a.Status.LastScaleTime,
			CurrentReplicas: a.Status.CurrentReplicas, DesiredReplicas: a.Status.DesiredReplicas,
		},
	}
	var metrics []autoscalingv1.MetricSpec
	if annotated(a.Annotations, metricsAnnotation, &metrics) {
		for i := range metrics {
			out.Spec.Metrics = append(out.Spec.Metrics, metricToStored(&metrics[i]))
		}
	}
	if p := a.Spec.TargetCPUUtilizationPercentage; p != nil {
		out.Spec.Metrics = append(out.Spec.Metrics, cpuMetric(*p))
	}
	var b behavior
	if annotated(a.Annotations, behaviorAnnotation, &b) {
		out.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: b.ScaleUp.stored(), ScaleDown: b.ScaleDown.stored()}
	}
	var current []autoscalingv1.MetricStatus
	if annotated(a.Annotations, currentAnnotation, &current) {
		for i := range current {
			out.Status.CurrentMetrics = append(out.Status.CurrentMetrics, statusToStored(&current[i]))
		}
	} else if p := a.Status.CurrentCPUUtilizationPercentage; p != nil {
		out.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{
			Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricStatus{
				Name: corev1.ResourceCPU, Current: autoscalingv2.MetricValueStatus{AverageUtilization: p},
			},
		}}
	}
	var conditions []autoscalingv1.HorizontalPodAutoscalerCondition
	if annotated(a.Annotations, conditionsAnnotation, &conditions) {
		for _, c := range conditions {
			out.Status.Conditions = append(out.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
				Type: autoscalingv2.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status,
				LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
			})
		}
	}
	out.Annotations = withoutAutoscaler(a.Annotations)
	setType(out, "autoscaling/v2", "HorizontalPodAutoscaler")
	defaultAutoscaler(out)
	return out, nil
}

// annotated reads an annotation, and tells whether there was one to be read.
func annotated(annotations map[string]string, name string, into any) bool {
	text, ok := annotations[name]
	return ok && json.Unmarshal([]byte(text), into) == nil
}

// withoutAutoscaler returns the annotations that are the user's own; the given
// ones are not changed.
func withoutAutoscaler(all map[string]string) map[string]string {
	own := all
	for _, name := range []string{metricsAnnotation, behaviorAnnotation, conditionsAnnotation, currentAnnotation} {
		if _, ok := own[name]; !ok {
			continue
		}
		if len(own) == len(all) {
			own = maps.Clone(all)
		}
		delete(own, name)
	}
	if len(own) == 0 {
		return nil
	}
	return own
}

// autoscalerFromStored turns v2 into autoscaling/v1.
func autoscalerFromStored(o runtime.Object) (runtime.Object, error) {
	a, ok := o.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return nil, fmt.Errorf("not an autoscaling/v2 HorizontalPodAutoscaler: %T", o)
	}
	out := &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: a.ObjectMeta,
		Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference(a.Spec.ScaleTargetRef),
			MinReplicas:    a.Spec.MinReplicas, MaxReplicas: a.Spec.MaxReplicas,
		},
		Status: autoscalingv1.HorizontalPodAutoscalerStatus{
			ObservedGeneration: a.Status.ObservedGeneration, LastScaleTime: a.Status.LastScaleTime,
			CurrentReplicas: a.Status.CurrentReplicas, DesiredReplicas: a.Status.DesiredReplicas,
		},
	}
	say := map[string]any{}
	var metrics []autoscalingv1.MetricSpec
	for i := range a.Spec.Metrics {
		m := &a.Spec.Metrics[i]
		if r := m.Resource; m.Type == autoscalingv2.ResourceMetricSourceType && r != nil && r.Name == corev1.ResourceCPU && r.Target.AverageUtilization != nil {
			if out.Spec.TargetCPUUtilizationPercentage == nil {
				out.Spec.TargetCPUUtilizationPercentage = r.Target.AverageUtilization
			}
			continue
		}
		metrics = append(metrics, metricFromStored(m))
	}
	if len(metrics) > 0 {
		say[metricsAnnotation] = metrics
	}
	if b := a.Spec.Behavior; b != nil {
		say[behaviorAnnotation] = behavior{rulesOf(b.ScaleUp), rulesOf(b.ScaleDown)}
	}
	var current []autoscalingv1.MetricStatus
	for i := range a.Status.CurrentMetrics {
		m := &a.Status.CurrentMetrics[i]
		current = append(current, statusFromStored(m))
		if r := m.Resource; m.Type == autoscalingv2.ResourceMetricSourceType && r != nil && r.Name == corev1.ResourceCPU && r.Current.AverageUtilization != nil {
			out.Status.CurrentCPUUtilizationPercentage = r.Current.AverageUtilization
		}
	}
	if len(current) > 0 {
		say[currentAnnotation] = current
	}
	var conditions []autoscalingv1.HorizontalPodAutoscalerCondition
	for _, c := range a.Status.Conditions {
		conditions = append(conditions, autoscalingv1.HorizontalPodAutoscalerCondition{
			Type: autoscalingv1.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status,
			LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	if len(conditions) > 0 {
		say[conditionsAnnotation] = conditions
	}
	if len(say) > 0 {
		out.Annotations = maps.Clone(a.Annotations)
		if out.Annotations == nil {
			out.Annotations = make(map[string]string, len(say))
		}
		for name, v := range say {
			text, err := json.Marshal(v)
			if err != nil {
				return nil, fmt.Errorf("annotation %s: %w", name, err)
			}
			out.Annotations[name] = string(text)
		}
	}
	setType(out, "autoscaling/v1", "HorizontalPodAutoscaler")
	return out, nil
}

func (r *scalingRules) stored() *autoscalingv2.HPAScalingRules {
	if r == nil {
		return nil
	}
	out := &autoscalingv2.HPAScalingRules{
		StabilizationWindowSeconds: r.StabilizationWindowSeconds, SelectPolicy: r.SelectPolicy, Tolerance: r.Tolerance,
	}
	for _, p := range r.Policies {
		out.Policies = append(out.Policies, autoscalingv2.HPAScalingPolicy{Type: p.Type, Value: p.Value, PeriodSeconds: p.PeriodSeconds})
	}
	return out
}

func rulesOf(r *autoscalingv2.HPAScalingRules) *scalingRules {
	if r == nil {
		return nil
	}
	out := &scalingRules{
		StabilizationWindowSeconds: r.StabilizationWindowSeconds, SelectPolicy: r.SelectPolicy, Tolerance: r.Tolerance,
	}
	for _, p := range r.Policies {
		out.Policies = append(out.Policies, scalingPolicy{p.Type, p.Value, p.PeriodSeconds})
	}
	return out
}
