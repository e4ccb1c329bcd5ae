package table

import (
	"fmt"
	"time"

	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

var apiService = show(
	columns(name,
		text("Service", "The Service that serves the group version; Local is the API server itself."),
		text("Available", "Whether it is served, and if not, why."),
		age),
	func(now time.Time, s *apiregistrationv1.APIService) []any {
		service, available := "Local", "Unknown"
		if r := s.Spec.Service; r != nil {
			service = r.Namespace + "/" + r.Name
		}
		for _, c := range s.Status.Conditions {
			if c.Type != apiregistrationv1.Available {
				continue
			}
			available = string(c.Status)
			if c.Status != apiregistrationv1.ConditionTrue {
				available = fmt.Sprintf("%s (%s)", c.Status, c.Reason)
			}
		}
		return []any{s.Name, service, available, since(now, s.CreationTimestamp)}
	},
)
