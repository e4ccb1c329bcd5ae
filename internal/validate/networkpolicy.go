package validate

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

var networkPolicyRules = &rules{create: rule(networkPolicy), update: same(networkPolicy)} // never changed

func networkPolicy(e *problems, p *networkingv1.NetworkPolicy) {
	s := &p.Spec
	selector(e, &s.PodSelector, specPath.Child("podSelector"))
	for i, r := range s.Ingress {
		at := specPath.Child("ingress").Index(i)
		policyPorts(e, r.Ports, at.Child("ports"))
		policyPeers(e, r.From, at.Child("from"))
	}
	for i, r := range s.Egress {
		at := specPath.Child("egress").Index(i)
		policyPorts(e, r.Ports, at.Child("ports"))
		policyPeers(e, r.To, at.Child("to"))
	}
	at := specPath.Child("policyTypes")
	if len(s.PolicyTypes) > 2 {
		e.invalid(at, s.PolicyTypes, "may not specify more than two policyTypes")
		return
	}
	known := []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress}
	for i, t := range s.PolicyTypes {
		if !slices.Contains(known, t) {
			e.add(field.NotSupported(at.Index(i), t, known))
		}
	}
}

func policyPorts(e *problems, ports []networkingv1.NetworkPolicyPort, at *field.Path) {
	for i, p := range ports {
		at := at.Index(i)
		optionalOneOf(e, at, "protocol", p.Protocol, protocols...)
		if p.Port != nil {
			port(e, *p.Port, at.Child("port"))
		}
		if p.EndPort == nil {
			continue
		}
		switch {
		case p.Port == nil:
			e.invalid(at.Child("endPort"), *p.EndPort, "may not be specified when `port` is not specified")
			continue
		case p.Port.Type == intstr.String:
			e.invalid(at.Child("endPort"), *p.EndPort, "may not be specified when `port` is non-numeric")
		case *p.EndPort < p.Port.IntVal:
			e.invalid(at.Child("endPort"), p.Port.IntVal, "must be greater than or equal to `port`") // upstream shows the port
		}
		portNumber(e, at, "endPort", *p.EndPort)
	}
}

func policyPeers(e *problems, peers []networkingv1.NetworkPolicyPeer, at *field.Path) {
	for i, p := range peers {
		at, n := at.Index(i), 0
		if p.PodSelector != nil {
			n++
			selector(e, p.PodSelector, at.Child("podSelector"))
		}
		if p.NamespaceSelector != nil {
			n++
			selector(e, p.NamespaceSelector, at.Child("namespaceSelector"))
		}
		if p.IPBlock != nil {
			n++
			ipBlock(e, p.IPBlock, at.Child("ipBlock"))
		}
		switch {
		case n == 0:
			e.required(at, "must specify a peer")
		case n > 1 && p.IPBlock != nil:
			e.forbidden(at, "may not specify both ipBlock and another peer")
		}
	}
}

func ipBlock(e *problems, b *networkingv1.IPBlock, at *field.Path) {
	if !e.given(at, "cidr", b.CIDR) {
		return
	}
	e.all(e.cidr(at.Child("cidr"), b.CIDR))
	e.warnCIDR(at.Child("cidr"), b.CIDR)
	_, whole, err := netutils.ParseCIDRSloppy(b.CIDR)
	if err != nil {
		return
	}
	most, _ := whole.Mask.Size()
	for i, c := range b.Except {
		at := at.Child("except").Index(i)
		e.all(e.cidr(at, c))
		e.warnCIDR(at, c)
		_, part, err := netutils.ParseCIDRSloppy(c)
		if err != nil {
			continue
		}
		if bits, _ := part.Mask.Size(); !whole.Contains(part.IP) || bits <= most {
			e.invalid(at, c, "must be a strict subset of `cidr`")
		}
	}
}
