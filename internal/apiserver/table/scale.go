package table

import (
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
)

var scale = show(
	columns(text("Name", "Name of the object that has the pods."),
		integer("Desired", "How many pods there are to be."),
		integer("Available", "How many pods there are."),
		age),
	func(now time.Time, s *autoscalingv1.Scale) []any {
		return []any{s.Name, int64(s.Spec.Replicas), int64(s.Status.Replicas), since(now, s.CreationTimestamp)}
	},
)
