package table

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var daemonSet = show(
	columns(name,
		integer("Desired", "How many nodes are to run the pod."),
		integer("Current", "How many of them have it."),
		integer("Ready", "On how many it is ready."),
		integer("Up-to-date", "On how many it is of the newest template."),
		integer("Available", "On how many it has been ready for long enough."),
		text("Node Selector", "Labels of the nodes that are to run the pod."),
		age, containers, images, selector),
	func(now time.Time, d *appsv1.DaemonSet) []any {
		names, images := templateCells(&d.Spec.Template.Spec)
		s := &d.Status
		return []any{
			d.Name, int64(s.DesiredNumberScheduled), int64(s.CurrentNumberScheduled), int64(s.NumberReady),
			int64(s.UpdatedNumberScheduled), int64(s.NumberAvailable), labels.FormatLabels(d.Spec.Template.Spec.NodeSelector),
			since(now, d.CreationTimestamp), names, images, metav1.FormatLabelSelector(d.Spec.Selector),
		}
	},
)
