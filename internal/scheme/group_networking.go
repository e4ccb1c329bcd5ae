package scheme

import networkingv1 "k8s.io/api/networking/v1"

func networkingRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Verbs = "networking.k8s.io", "v1", everyVerb
		return r
	}
	return []*Resource{
		row[networkingv1.IngressClass, networkingv1.IngressClassList](in(Resource{
			Kind: "IngressClass", Name: "ingressclasses", Singular: "ingressclass", Prefix: "ingressclasses",
			Default: defaulter(defaultIngressClass),
		})),
		row[networkingv1.Ingress, networkingv1.IngressList](in(Resource{
			Kind: "Ingress", Name: "ingresses", Singular: "ingress", ShortNames: []string{"ing"},
			Namespaced: true, Prefix: "ingress", Subresources: []Subresource{status()},
		})),
		row[networkingv1.IPAddress, networkingv1.IPAddressList](in(Resource{
			Kind: "IPAddress", Name: "ipaddresses", Singular: "ipaddress", ShortNames: []string{"ip"}, Prefix: "ipaddresses",
		})),
		row[networkingv1.NetworkPolicy, networkingv1.NetworkPolicyList](in(Resource{
			Kind: "NetworkPolicy", Name: "networkpolicies", Singular: "networkpolicy", ShortNames: []string{"netpol"},
			Default:    defaulter(defaultNetworkPolicy),
			Namespaced: true, Prefix: "networkpolicies",
		})),
		row[networkingv1.ServiceCIDR, networkingv1.ServiceCIDRList](in(Resource{
			Kind: "ServiceCIDR", Name: "servicecidrs", Singular: "servicecidr", Prefix: "servicecidrs",
			Subresources: []Subresource{status()},
		})),
	}
}
