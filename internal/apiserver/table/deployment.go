package table

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var deployment = show(
	columns(name,
		text("Ready", "Ready pods of those there are to be."),
		text("Up-to-date", "How many pods are of the newest template."),
		text("Available", "How many pods have been ready for long enough."),
		age, containers, images, selector),
	func(now time.Time, d *appsv1.Deployment) []any {
		names, images := templateCells(&d.Spec.Template.Spec)
		return []any{
			d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, count(d.Spec.Replicas)),
			int64(d.Status.UpdatedReplicas), int64(d.Status.AvailableReplicas),
			since(now, d.CreationTimestamp), names, images, metav1.FormatLabelSelector(d.Spec.Selector),
		}
	},
)
