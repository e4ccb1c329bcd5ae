package table

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

var componentStatus = show(
	columns(name, text("Status", "Whether the component is healthy."), text("Message", "What the component says."), text("Error", "What is wrong.")),
	func(_ time.Time, c *corev1.ComponentStatus) []any {
		status, message, problem := "Unknown", "", ""
		for _, cond := range c.Conditions {
			if cond.Type != corev1.ComponentHealthy {
				continue
			}
			if status = "Unhealthy"; cond.Status == corev1.ConditionTrue {
				status = "Healthy"
			}
			message, problem = cond.Message, cond.Error
		}
		return []any{c.Name, status, message, problem}
	},
)
