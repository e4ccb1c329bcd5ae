package table

import (
	"strconv"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
)

var endpointSlice = show(
	columns(name,
		text("AddressType", "Family of the addresses."),
		text("Ports", "Ports of every endpoint."),
		text("Endpoints", "Addresses of the endpoints."),
		age),
	func(now time.Time, s *discoveryv1.EndpointSlice) []any {
		ports := make([]string, len(s.Ports))
		for i, p := range s.Ports {
			switch {
			case p.Port != nil:
				ports[i] = strconv.Itoa(int(*p.Port))
			case p.Name != nil:
				ports[i] = *p.Name
			}
		}
		var all []string
		for i := range s.Endpoints {
			all = append(all, s.Endpoints[i].Addresses...)
		}
		return []any{s.Name, string(s.AddressType), or(firstOf(ports), unset), or(firstOf(all), unset), since(now, s.CreationTimestamp)}
	},
)
