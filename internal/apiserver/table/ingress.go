package table

import (
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
)

var ingress = show(
	columns(name,
		text("Class", "Who serves it."),
		text("Hosts", "Names it answers to."),
		text("Address", "Where it is reached."),
		text("Ports", "Ports it is reached on."),
		age),
	func(now time.Time, in *networkingv1.Ingress) []any {
		class := none
		if c := in.Spec.IngressClassName; c != nil {
			class = *c
		}
		ports := "80"
		if len(in.Spec.TLS) > 0 {
			ports = "80, 443"
		}
		var at []string
		for _, a := range in.Status.LoadBalancer.Ingress {
			if s := or(a.IP, a.Hostname); s != "" {
				at = append(at, s)
			}
		}
		return []any{in.Name, class, ingressHosts(in), strings.Join(distinct(at), ","), ports, since(now, in.CreationTimestamp)}
	},
)

func ingressHosts(in *networkingv1.Ingress) string {
	var hosts []string
	for _, r := range in.Spec.Rules {
		if r.Host != "" {
			hosts = append(hosts, r.Host)
		}
	}
	return or(firstOf(hosts), "*")
}
