package scheme

import discoveryv1 "k8s.io/api/discovery/v1"

func discoveryRows() []*Resource {
	return []*Resource{
		row[discoveryv1.EndpointSlice, discoveryv1.EndpointSliceList](Resource{
			Group: "discovery.k8s.io", Version: "v1",
			Kind: "EndpointSlice", Name: "endpointslices", Singular: "endpointslice",
			Default:    defaulter(defaultEndpointSlice),
			Namespaced: true, Verbs: everyVerb, Prefix: "endpointslices",
		}),
	}
}
