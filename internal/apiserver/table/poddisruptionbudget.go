package table

import (
	"time"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var podDisruptionBudget = show(
	columns(name,
		text("Min Available", "How many pods must stay."),
		text("Max Unavailable", "How many pods may be gone."),
		integer("Allowed Disruptions", "How many pods may be evicted now."),
		age),
	func(now time.Time, b *policyv1.PodDisruptionBudget) []any {
		show := func(v *intstr.IntOrString) string {
			if v == nil {
				return "N/A"
			}
			return v.String()
		}
		return []any{
			b.Name, show(b.Spec.MinAvailable), show(b.Spec.MaxUnavailable), int64(b.Status.DisruptionsAllowed),
			since(now, b.CreationTimestamp),
		}
	},
)
