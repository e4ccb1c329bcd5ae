package scheme

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
)

func defaultReplicationController(rc *corev1.ReplicationController) {
	point(&rc.Spec.Replicas, 1)
	if rc.Spec.Template == nil {
		return
	}
	if labels := rc.Spec.Template.Labels; len(labels) > 0 {
		if len(rc.Spec.Selector) == 0 {
			rc.Spec.Selector = maps.Clone(labels)
		}
		if len(rc.Labels) == 0 {
			rc.Labels = maps.Clone(labels)
		}
	}
	defaultPodSpec(&rc.Spec.Template.Spec)
}
