package scheme

import apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

func defaultAPIService(s *apiregistrationv1.APIService) {
	if s.Spec.Service != nil {
		point(&s.Spec.Service.Port, 443)
	}
}
