package table

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var resourceQuota = show(
	columns(name,
		text("Request", "What is used of what may be requested."),
		text("Limit", "What is used of what limits may add up to."),
		age),
	func(now time.Time, q *corev1.ResourceQuota) []any {
		names := make([]string, 0, len(q.Status.Hard))
		for n := range q.Status.Hard {
			names = append(names, string(n))
		}
		slices.Sort(names)
		var requests, limits []string
		for _, n := range names {
			used, hard := q.Status.Used[corev1.ResourceName(n)], q.Status.Hard[corev1.ResourceName(n)]
			s := fmt.Sprintf("%s: %s/%s", n, used.String(), hard.String())
			if strings.HasPrefix(n, "limits.") {
				limits = append(limits, s)
			} else {
				requests = append(requests, s)
			}
		}
		return []any{q.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), since(now, q.CreationTimestamp)}
	},
)
