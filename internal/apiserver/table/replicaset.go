package table

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var replicaSet = show(replicaColumns(), func(now time.Time, rs *appsv1.ReplicaSet) []any {
	names, images := templateCells(&rs.Spec.Template.Spec)
	return []any{
		rs.Name, count(rs.Spec.Replicas), int64(rs.Status.Replicas), int64(rs.Status.ReadyReplicas),
		since(now, rs.CreationTimestamp), names, images, metav1.FormatLabelSelector(rs.Spec.Selector),
	}
})
