package table

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

var statefulSet = show(
	columns(name, text("Ready", "Ready pods of those there are to be."), age, containers, images),
	func(now time.Time, s *appsv1.StatefulSet) []any {
		names, images := templateCells(&s.Spec.Template.Spec)
		return []any{
			s.Name, fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, count(s.Spec.Replicas)),
			since(now, s.CreationTimestamp), names, images,
		}
	},
)
