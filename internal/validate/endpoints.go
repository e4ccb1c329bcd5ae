package validate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var endpointsRules = &rules{ // never changed
	create: rule(endpoints),
	update: same(endpoints),
}

func endpoints(e *problems, ep *corev1.Endpoints) {
	for i := range ep.Subsets {
		s, at := &ep.Subsets[i], field.NewPath("subsets").Index(i)
		if len(s.Addresses)+len(s.NotReadyAddresses) == 0 {
			e.required(at, "must specify `addresses` or `notReadyAddresses`")
		}
		endpointAddresses(e, s.Addresses, at.Child("addresses"))
		endpointAddresses(e, s.NotReadyAddresses, at.Child("notReadyAddresses"))
		for j := range s.Ports {
			p, at := &s.Ports[j], at.Child("ports").Index(j)
			if len(s.Ports) > 1 && p.Name == "" {
				e.required(at.Child("name"), "")
			} else if p.Name != "" {
				e.check(at, "name", p.Name, dnsLabel)
			}
			portNumber(e, at, "port", p.Port)
			givenOneOf(e, at, "protocol", p.Protocol, protocols...)
			if a := p.AppProtocol; a != nil {
				e.check(at, "appProtocol", *a, validation.IsQualifiedName)
			}
		}
	}
}

func endpointAddresses(e *problems, list []corev1.EndpointAddress, at *field.Path) {
	for i := range list {
		a, at := &list[i], at.Index(i)
		if a.Hostname != "" {
			e.check(at, "hostname", a.Hostname, dnsLabel)
		}
		if a.NodeName != nil {
			e.check(at, "nodeName", *a.NodeName, dnsSubdomain)
		}
		endpointIP(e, a.IP, at.Child("ip"))
		if len(validation.IsValidIPForLegacyField(at, a.IP, false, nil)) > 0 {
			e.invalid(at.Child("ip"), a.IP, "must be a valid IP address") // told in both ways here
		}
	}
}
