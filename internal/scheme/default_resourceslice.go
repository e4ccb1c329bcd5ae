package scheme

import (
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func defaultResourceSlice(s *resourcev1.ResourceSlice) {
	for i := range s.Spec.Devices {
		taints := s.Spec.Devices[i].Taints
		for j := range taints {
			// Kept in whole seconds, as it is written.
			point(&taints[j].TimeAdded, metav1.Now().Rfc3339Copy())
		}
	}
}
