package scheme

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

func apiextensionsRows() []*Resource {
	return []*Resource{
		row[apiextensionsv1.CustomResourceDefinition, apiextensionsv1.CustomResourceDefinitionList](Resource{
			Group: "apiextensions.k8s.io", Version: "v1",
			Kind: "CustomResourceDefinition", Name: "customresourcedefinitions", Singular: "customresourcedefinition",
			ShortNames: []string{"crd", "crds"}, Categories: []string{"api-extensions"}, Verbs: everyVerb,
			Prefix:  "apiextensions.k8s.io/customresourcedefinitions",
			Default: defaulter(defaultCustomResourceDefinition), Subresources: []Subresource{{Name: "status", Verbs: readWrite, NoTable: true}},
		}),
	}
}
