package scheme

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// autoscalingRows are the two versions of the one stored autoscaler, the newer
// first, which is also the stored one.
func autoscalingRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Kind, r.Name, r.Singular = "autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler"
		r.ShortNames, r.Categories = []string{"hpa"}, []string{"all"}
		r.Namespaced, r.Verbs, r.Prefix = true, everyVerb, r.Name
		r.Subresources = []Subresource{status()}
		return r
	}
	return []*Resource{
		row[autoscalingv2.HorizontalPodAutoscaler, autoscalingv2.HorizontalPodAutoscalerList](in(Resource{
			Version: "v2", Default: defaulter(defaultAutoscaler),
		})),
		row[autoscalingv1.HorizontalPodAutoscaler, autoscalingv1.HorizontalPodAutoscalerList](in(Resource{
			Version: "v1", Default: defaulter(defaultAutoscalerV1),
			// Replaced by the row above of the same table.
			Stored:   &Resource{Group: "autoscaling", Version: "v2", Name: "horizontalpodautoscalers"},
			ToStored: autoscalerToStored, FromStored: autoscalerFromStored,
			Fields: selectable[autoscalingv2.HorizontalPodAutoscaler](nil),
		})),
	}
}
