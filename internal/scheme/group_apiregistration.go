package scheme

import apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

func apiregistrationRows() []*Resource {
	return []*Resource{
		row[apiregistrationv1.APIService, apiregistrationv1.APIServiceList](Resource{
			Group: "apiregistration.k8s.io", Version: "v1",
			Kind: "APIService", Name: "apiservices", Singular: "apiservice",
			Categories: []string{"api-extensions"}, Verbs: everyVerb,
			Prefix:  "apiregistration.k8s.io/apiservices",
			Default: defaulter(defaultAPIService), Subresources: []Subresource{{Name: "status", Verbs: readWrite, NoTable: true}},
		}),
	}
}
