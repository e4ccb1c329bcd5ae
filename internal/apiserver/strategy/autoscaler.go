package strategy

import autoscalingv2 "k8s.io/api/autoscaling/v2"

func autoscaler() *Strategy {
	return halves(
		func(a *autoscalingv2.HorizontalPodAutoscaler) *autoscalingv2.HorizontalPodAutoscalerSpec {
			return &a.Spec
		},
		func(a *autoscalingv2.HorizontalPodAutoscaler) *autoscalingv2.HorizontalPodAutoscalerStatus {
			return &a.Status
		}, false, nil)
}
