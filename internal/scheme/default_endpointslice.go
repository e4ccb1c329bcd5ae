package scheme

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func defaultEndpointSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		point(&s.Ports[i].Name, "")
		point(&s.Ports[i].Protocol, corev1.ProtocolTCP)
	}
}
