package table

import (
	"time"

	networkingv1 "k8s.io/api/networking/v1"
)

var ingressClass = show(
	columns(name,
		text("Controller", "Who serves ingresses of the class."),
		text("Parameters", "Object with the controller's settings."),
		age),
	func(now time.Time, c *networkingv1.IngressClass) []any {
		parameters := none
		if p := c.Spec.Parameters; p != nil {
			parameters = p.Kind
			if p.APIGroup != nil {
				parameters += "." + *p.APIGroup
			}
			parameters += "/" + p.Name
		}
		return []any{classOf(c, networkingv1.AnnotationIsDefaultIngressClass), c.Spec.Controller, parameters, since(now, c.CreationTimestamp)}
	},
)
