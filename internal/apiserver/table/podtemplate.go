package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var podTemplate = show(
	columns(name,
		text("Containers", "Names of the containers in the template."),
		text("Images", "Images of the containers in the template."),
		text("Pod Labels", "Labels of pods made from the template.")),
	func(_ time.Time, t *corev1.PodTemplate) []any {
		names, images := templateCells(&t.Template.Spec)
		return []any{t.Name, names, images, labels.FormatLabels(t.Template.Labels)}
	},
)
