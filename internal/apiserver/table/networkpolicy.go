package table

import (
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var networkPolicy = show(
	columns(name, text("Pod-Selector", "Labels of the pods it is about."), age),
	func(now time.Time, p *networkingv1.NetworkPolicy) []any {
		return []any{p.Name, metav1.FormatLabelSelector(&p.Spec.PodSelector), since(now, p.CreationTimestamp)}
	},
)
