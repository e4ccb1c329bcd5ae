package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
)

var priorityClass = show(
	columns(name,
		integer("Value", "Priority of pods of the class."),
		boolean("Global-Default", "Whether pods without a class are of this one."),
		age,
		text("PreemptionPolicy", "Whether pods of the class may displace others.")),
	func(now time.Time, c *schedulingv1.PriorityClass) []any {
		policy := corev1.PreemptLowerPriority
		if c.PreemptionPolicy != nil {
			policy = *c.PreemptionPolicy
		}
		return []any{c.Name, int64(c.Value), c.GlobalDefault, since(now, c.CreationTimestamp), string(policy)}
	},
)
