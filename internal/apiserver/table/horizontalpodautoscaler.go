package table

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

var horizontalPodAutoscaler = show(
	columns(name,
		text("Reference", "What is scaled."),
		text("Targets", "What the metrics are, and should be."),
		text("MinPods", "The fewest pods."),
		text("MaxPods", "The most pods."),
		text("Replicas", "How many there are."),
		age),
	func(now time.Time, a *autoscalingv2.HorizontalPodAutoscaler) []any {
		least := unset
		if a.Spec.MinReplicas != nil {
			least = strconv.Itoa(int(*a.Spec.MinReplicas))
		}
		ref := a.Spec.ScaleTargetRef
		return []any{
			a.Name, ref.Kind + "/" + ref.Name, targets(a.Spec.Metrics, a.Status.CurrentMetrics), least,
			int64(a.Spec.MaxReplicas), int64(a.Status.CurrentReplicas), since(now, a.CreationTimestamp),
		}
	},
)

// targets shows two metrics, each with what it is and what it should be, and
// tells how many more there are.
func targets(specs []autoscalingv2.MetricSpec, current []autoscalingv2.MetricStatus) string {
	const most = 2
	if len(specs) == 0 {
		return none
	}
	var parts []string
	for i := range specs {
		if i == most {
			break
		}
		var c autoscalingv2.MetricStatus
		if i < len(current) {
			c = current[i]
		}
		parts = append(parts, target(&specs[i], &c))
	}
	text := strings.Join(parts, ", ")
	if more := len(specs) - most; more > 0 {
		text = fmt.Sprintf("%s + %d more...", text, more)
	}
	return text
}

func target(m *autoscalingv2.MetricSpec, c *autoscalingv2.MetricStatus) string {
	switch {
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		var now *autoscalingv2.MetricValueStatus
		if c.External != nil {
			now = &c.External.Current
		}
		return amount(&m.External.Target, now)
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		var now *autoscalingv2.MetricValueStatus
		if c.Pods != nil {
			now = &c.Pods.Current
		}
		return shown(now, func(v *autoscalingv2.MetricValueStatus) string { return quantity(v.AverageValue) }) + "/" + quantity(m.Pods.Target.AverageValue)
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		var now *autoscalingv2.MetricValueStatus
		if c.Object != nil {
			now = &c.Object.Current
		}
		return amount(&m.Object.Target, now)
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		var now *autoscalingv2.MetricValueStatus
		if c.Resource != nil {
			now = &c.Resource.Current
		}
		return string(m.Resource.Name) + ": " + usage(&m.Resource.Target, now)
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		var now *autoscalingv2.MetricValueStatus
		if c.ContainerResource != nil {
			now = &c.ContainerResource.Current
		}
		return string(m.ContainerResource.Name) + ": " + usage(&m.ContainerResource.Target, now)
	}
	return "<unknown type>"
}

func shown(v *autoscalingv2.MetricValueStatus, text func(*autoscalingv2.MetricValueStatus) string) string {
	if v == nil {
		return unknown
	}
	return or(text(v), unknown)
}

func quantity(q *resource.Quantity) string {
	if q == nil {
		return ""
	}
	return q.String()
}

// amount is a metric in all, or by pod.
func amount(t *autoscalingv2.MetricTarget, now *autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return shown(now, func(v *autoscalingv2.MetricValueStatus) string { return quantity(v.AverageValue) }) + "/" + t.AverageValue.String() + " (avg)"
	}
	return shown(now, func(v *autoscalingv2.MetricValueStatus) string { return quantity(v.Value) }) + "/" + quantity(t.Value)
}

// usage is what pods use of a resource, or of what they requested.
func usage(t *autoscalingv2.MetricTarget, now *autoscalingv2.MetricValueStatus) string {
	if t.AverageValue != nil {
		return shown(now, func(v *autoscalingv2.MetricValueStatus) string { return quantity(v.AverageValue) }) + "/" + t.AverageValue.String()
	}
	want := "<auto>"
	if t.AverageUtilization != nil {
		want = percent(t.AverageUtilization)
	}
	return shown(now, func(v *autoscalingv2.MetricValueStatus) string { return percent(v.AverageUtilization) }) + "/" + want
}

func percent(n *int32) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(int(*n)) + "%"
}
