package validate

import (
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a scaling rule may hold, in seconds.
const (
	longestWindow = 3600
	longestPeriod = 1800
)

var autoscalerRules = &rules{ // never changed
	create: rule(autoscaler),
	update: same(autoscaler),
	subresources: subresources{
		"status": same(func(e *problems, a *autoscalingv2.HorizontalPodAutoscaler) {
			at := field.NewPath("status")
			e.notNegative(at, "currentReplicas", int64(a.Status.CurrentReplicas))
			e.notNegative(at, "desiredReplicas", int64(a.Status.DesiredReplicas))
		}),
	},
}

func autoscaler(e *problems, a *autoscalingv2.HorizontalPodAutoscaler) {
	s, at := &a.Spec, field.NewPath("spec")
	if n := s.MinReplicas; n != nil && *n < 1 {
		// Scaling to nothing is not on by default.
		e.invalid(at.Child("minReplicas"), *n, "must be greater than or equal to 1")
	}
	switch {
	case s.MaxReplicas < 0:
		e.invalid(at.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to 1")
	case s.MaxReplicas == 0:
		e.required(at.Child("maxReplicas"), "must be set and greater than 0")
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		e.invalid(at.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`")
	}
	target := at.Child("scaleTargetRef")
	crossReference(e, s.ScaleTargetRef, target)
	if gv := groupVersion(e, s.ScaleTargetRef, target); gv != nil && gv.Group == "" && s.ScaleTargetRef.Kind != "ReplicationController" {
		e.invalid(target.Child("apiVersion"), s.ScaleTargetRef.APIVersion, "apiVersion must specify API group")
	}
	scalesToNothing := false
	for i := range s.Metrics {
		m := &s.Metrics[i]
		metric(e, m, at.Child("metrics").Index(i))
		scalesToNothing = scalesToNothing || m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
	}
	if n := s.MinReplicas; n != nil && *n == 0 && !scalesToNothing {
		e.forbidden(at.Child("metrics"), "must specify at least one Object or External metric to support scaling to zero replicas")
	}
	if b := s.Behavior; b != nil {
		scalingRules(e, b.ScaleUp, at.Child("behavior", "scaleUp"))
		scalingRules(e, b.ScaleDown, at.Child("behavior", "scaleDown"))
	}
}

func crossReference(e *problems, r autoscalingv2.CrossVersionObjectReference, at *field.Path) {
	segment(e, at, "kind", r.Kind, "")
	segment(e, at, "name", r.Name, "")
}

// groupVersion returns what a reference's apiVersion says, nil if that is nothing.
func groupVersion(e *problems, r autoscalingv2.CrossVersionObjectReference, at *field.Path) *schema.GroupVersion {
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		e.invalid(at.Child("apiVersion"), r.APIVersion, err.Error())
		return nil
	}
	return &gv
}

// segment checks a child field that becomes part of a path.
func segment(e *problems, at *field.Path, name, value, missing string) {
	if value == "" {
		e.required(at.Child(name), missing)
		return
	}
	e.texts(at.Child(name), value, segmentTexts(value))
}

func segmentTexts(value string) []string { return path.IsValidPathSegmentName(value) }

func scalingRules(e *problems, r *autoscalingv2.HPAScalingRules, at *field.Path) {
	if r == nil {
		return
	}
	if w := r.StabilizationWindowSeconds; w != nil {
		switch at := at.Child("stabilizationWindowSeconds"); {
		case *w < 0:
			e.invalid(at, *w, "must be greater than or equal to zero")
		case *w > longestWindow:
			e.invalid(at, *w, "must be less than or equal to 3600")
		}
	}
	optionalOneOf(e, at, "selectPolicy", r.SelectPolicy,
		autoscalingv2.DisabledPolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect)
	if t := r.Tolerance; t != nil && t.Sign() < 0 {
		e.invalid(at.Child("tolerance"), t.String(), "must be greater than or equal to 0")
	}
	at = at.Child("policies")
	if len(r.Policies) == 0 {
		e.required(at, "must specify at least one Policy")
	}
	for i := range r.Policies {
		p, at := &r.Policies[i], at.Index(i)
		oneOf(e, at, "type", p.Type, autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy)
		if p.Value <= 0 {
			e.invalid(at.Child("value"), p.Value, "must be greater than zero")
		}
		switch at := at.Child("periodSeconds"); {
		case p.PeriodSeconds <= 0:
			e.invalid(at, p.PeriodSeconds, "must be greater than zero")
		case p.PeriodSeconds > longestPeriod:
			e.invalid(at, p.PeriodSeconds, "must be less than or equal to 1800")
		}
	}
}

var metricTypes = []autoscalingv2.MetricSourceType{ // never changed
	autoscalingv2.ContainerResourceMetricSourceType, autoscalingv2.ExternalMetricSourceType, autoscalingv2.ObjectMetricSourceType,
	autoscalingv2.PodsMetricSourceType, autoscalingv2.ResourceMetricSourceType,
}

func metric(e *problems, m *autoscalingv2.MetricSpec, at *field.Path) {
	if m.Type == "" {
		e.required(at.Child("type"), "must specify a metric source type")
	}
	oneOf(e, at, "type", m.Type, metricTypes...)
	if !slices.Contains(metricTypes, m.Type) {
		oneOf(e, at, "type", m.Type, metricTypes...) // and told once more, as upstream does
	}
	present, seen := 0, 0
	for _, set := range []bool{m.Object != nil, m.Pods != nil, m.Resource != nil, m.ContainerResource != nil, m.External != nil} {
		if set {
			present++
		}
	}
	source := func(t autoscalingv2.MetricSourceType, name string, set bool, judge func(at *field.Path)) {
		at := at.Child(name)
		if set {
			if seen++; seen == 1 {
				judge(at) // others are one too many, whatever they say
			}
		}
		switch {
		case !slices.Contains(metricTypes, m.Type) || set == (t == m.Type):
		case set && present > 1:
			e.forbidden(at, "must populate the given metric source only")
		case !set:
			e.required(at, "must populate information for the given metric source")
		}
	}
	source(autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func(at *field.Path) {
		o := m.Object
		crossReference(e, o.DescribedObject, at.Child("describedObject"))
		groupVersion(e, o.DescribedObject, at.Child("describedObject"))
		identifier(e, &o.Metric, at.Child("metric"))
		target(e, &o.Target, at.Child("target"))
		if o.Target.Value == nil && o.Target.AverageValue == nil {
			e.required(at.Child("target", "averageValue"), "must set either a target value or averageValue")
		}
	})
	source(autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func(at *field.Path) {
		t := &m.External.Target
		identifier(e, &m.External.Metric, at.Child("metric"))
		target(e, t, at.Child("target"))
		switch {
		case t.Value == nil && t.AverageValue == nil:
			e.required(at.Child("target", "averageValue"), "must set either a target value for metric or a per-pod target")
		case t.Value != nil && t.AverageValue != nil:
			e.forbidden(at.Child("target", "value"), "may not set both a target value for metric and a per-pod target")
		}
	})
	source(autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func(at *field.Path) {
		identifier(e, &m.Pods.Metric, at.Child("metric"))
		target(e, &m.Pods.Target, at.Child("target"))
		if m.Pods.Target.AverageValue == nil {
			e.required(at.Child("target", "averageValue"), "must specify a positive target averageValue")
		}
	})
	source(autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func(at *field.Path) {
		resourceTarget(e, m.Resource.Name, &m.Resource.Target, at)
	})
	source(autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil, func(at *field.Path) {
		if m.ContainerResource.Container == "" {
			e.required(at.Child("container"), "must specify a container")
		} else {
			e.check(at, "container", m.ContainerResource.Container, dnsLabel)
		}
		if m.ContainerResource.Name != "" {
			containerResource(e, m.ContainerResource.Name, at.Child("name"))
		}
		resourceTarget(e, m.ContainerResource.Name, &m.ContainerResource.Target, at)
	})
}

func identifier(e *problems, m *autoscalingv2.MetricIdentifier, at *field.Path) {
	segment(e, at, "name", m.Name, "must specify a metric name")
}

func resourceTarget(e *problems, name corev1.ResourceName, t *autoscalingv2.MetricTarget, at *field.Path) {
	if name == "" {
		e.required(at.Child("name"), "must specify a resource name")
	}
	at = at.Child("target")
	target(e, t, at)
	switch {
	case t.AverageUtilization == nil && t.AverageValue == nil:
		e.required(at.Child("averageUtilization"), "must set either a target raw value or a target utilization")
	case t.AverageUtilization != nil && t.AverageValue != nil:
		e.forbidden(at.Child("averageValue"), "may not set both a target raw value and a target utilization")
	}
}

func target(e *problems, t *autoscalingv2.MetricTarget, at *field.Path) {
	switch t.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	default:
		if t.Type == "" {
			e.required(at.Child("type"), "must specify a metric target type")
		}
		e.invalid(at.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue")
	}
	positive := func(name string, q *resource.Quantity) {
		if q != nil && q.Sign() != 1 {
			e.invalid(at.Child(name), q.String(), "must be positive")
		}
	}
	positive("value", t.Value)
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		e.invalid(at.Child("averageUtilization"), *t.AverageUtilization, "must be greater than 0")
	}
	positive("averageValue", t.AverageValue)
}
