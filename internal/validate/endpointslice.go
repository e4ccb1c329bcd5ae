package validate

import (
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a slice may hold.
const (
	mostEndpoints = 1000
	mostAddresses = 100
	mostPorts     = 20000
	mostTopology  = 16
	mostHints     = 8
)

var endpointSliceRules = &rules{ // never changed
	create: rule(endpointSlice),
	update: change(func(e *problems, s, old *discoveryv1.EndpointSlice) {
		if s.AddressType != old.AddressType {
			e.immutable(nil, "addressType", s.AddressType, false)
			addressType(e, s.AddressType)
			return // what else there is to say follows from that
		}
		endpointSlice(e, s)
	}),
}

func addressType(e *problems, t discoveryv1.AddressType) {
	givenOneOf(e, nil, "addressType", t, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
}

func endpointSlice(e *problems, s *discoveryv1.EndpointSlice) {
	addressType(e, s.AddressType)
	at := field.NewPath("endpoints")
	if n := len(s.Endpoints); n > mostEndpoints {
		e.add(field.TooMany(at, n, mostEndpoints))
		return
	}
	for i := range s.Endpoints {
		endpoint(e, &s.Endpoints[i], s.AddressType, at.Index(i))
	}
	slicePorts(e, s.Ports)
}

func endpoint(e *problems, ep *discoveryv1.Endpoint, t discoveryv1.AddressType, at *field.Path) {
	switch n := len(ep.Addresses); {
	case n == 0:
		e.required(at.Child("addresses"), "must contain at least 1 address")
	case n > mostAddresses:
		e.add(field.TooMany(at.Child("addresses"), n, mostAddresses))
	}
	all := at.Child("addresses")
	for i, a := range ep.Addresses {
		switch at := at.Child("addresses").Index(i); t {
		case discoveryv1.AddressTypeFQDN:
			e.all(validation.IsFullyQualifiedDomainName(at, a))
		case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6:
			if f := family(a); f != "" && string(f) != string(t) {
				e.invalid(all, a, "must be an "+string(t)+" address")
			}
			endpointIP(e, a, at)
		}
	}
	if n := len(ep.DeprecatedTopology); n > mostTopology {
		e.add(field.TooMany(at.Child("deprecatedTopology"), n, mostTopology))
	}
	e.all(metavalidation.ValidateLabels(ep.DeprecatedTopology, at.Child("deprecatedTopology")))
	if n := ep.NodeName; n != nil {
		e.check(at, "nodeName", *n, dnsSubdomain)
	}
	if h := ep.Hostname; h != nil {
		e.check(at, "hostname", *h, dnsLabel)
	}
	if ep.Hints == nil {
		return
	}
	zones, nodes, at := ep.Hints.ForZones, ep.Hints.ForNodes, at.Child("hints")
	if n := len(zones); n > mostHints {
		e.add(field.TooMany(at.Child("forZones"), n, mostHints))
		return
	}
	for i, z := range zones {
		at := at.Child("forZones").Index(i).Child("name")
		if slices.Contains(zones[:i], z) {
			e.add(field.Duplicate(at, z.Name))
		}
		e.texts(at, z.Name, validation.IsValidLabelValue(z.Name))
	}
	if n := len(nodes); n > mostHints {
		e.add(field.TooMany(at.Child("forNodes"), n, mostHints))
		return
	}
	for i, n := range nodes {
		at := at.Child("forNodes").Index(i).Child("name")
		if slices.Contains(nodes[:i], n) {
			e.add(field.Duplicate(at, n.Name))
		}
		e.texts(at, n.Name, dnsSubdomain(n.Name))
	}
}

func slicePorts(e *problems, ports []discoveryv1.EndpointPort) {
	at := field.NewPath("ports")
	if n := len(ports); n > mostPorts {
		e.add(field.TooMany(at, n, mostPorts))
		return
	}
	names := make(map[string]bool, len(ports))
	for i := range ports {
		p, at := &ports[i], at.Index(i)
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		if name != "" {
			e.check(at, "name", name, dnsLabel)
		}
		if names[name] {
			e.add(field.Duplicate(at.Child("name"), p.Name))
		}
		names[name] = true
		if p.Protocol == nil {
			e.required(at.Child("protocol"), "")
		} else {
			oneOf(e, at, "protocol", *p.Protocol, protocols...)
		}
		if a := p.AppProtocol; a != nil {
			e.check(at, "appProtocol", *a, validation.IsQualifiedName)
		}
	}
}
