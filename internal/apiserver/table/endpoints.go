package table

import (
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var endpoints = show(
	columns(name, text("Endpoints", "Addresses and ports that are ready."), age),
	func(now time.Time, e *corev1.Endpoints) []any {
		var all []string
		for i := range e.Subsets {
			s := &e.Subsets[i]
			if len(s.Ports) == 0 {
				for _, a := range s.Addresses {
					all = append(all, a.IP)
				}
			}
			for _, p := range s.Ports {
				for _, a := range s.Addresses {
					all = append(all, net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
				}
			}
		}
		shown := firstOf(all)
		if len(e.Subsets) == 0 {
			shown = none
		}
		return []any{e.Name, shown, since(now, e.CreationTimestamp)}
	},
)
