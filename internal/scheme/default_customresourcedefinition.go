package scheme

import (
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func defaultCustomResourceDefinition(c *apiextensionsv1.CustomResourceDefinition) {
	s := &c.Spec
	fill(&s.Names.Singular, strings.ToLower(s.Names.Kind))
	if s.Names.Kind != "" {
		fill(&s.Names.ListKind, s.Names.Kind+"List")
	}
	point(&s.Conversion, apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter})
	if w := s.Conversion.Webhook; w != nil && w.ClientConfig != nil && w.ClientConfig.Service != nil {
		point(&w.ClientConfig.Service.Port, 443)
	}
	// What is stored was served by somebody before it said in which versions.
	if len(c.Status.StoredVersions) == 0 {
		for _, v := range s.Versions {
			if v.Storage {
				c.Status.StoredVersions = append(c.Status.StoredVersions, v.Name)
				break
			}
		}
	}
}
