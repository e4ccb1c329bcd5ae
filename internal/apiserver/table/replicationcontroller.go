package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// replicaColumns are those of replica sets and replication controllers.
func replicaColumns() []metav1.TableColumnDefinition {
	return columns(name,
		integer("Desired", "How many pods there are to be."),
		integer("Current", "How many pods there are."),
		integer("Ready", "How many pods are ready."),
		age, containers, images, selector)
}

var replicationController = show(replicaColumns(), func(now time.Time, rc *corev1.ReplicationController) []any {
	var names, images string
	if rc.Spec.Template != nil {
		names, images = templateCells(&rc.Spec.Template.Spec)
	}
	return []any{
		rc.Name, count(rc.Spec.Replicas), int64(rc.Status.Replicas), int64(rc.Status.ReadyReplicas),
		since(now, rc.CreationTimestamp), names, images, labels.FormatLabels(rc.Spec.Selector),
	}
})
