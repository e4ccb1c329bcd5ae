package strategy

import (
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// What the server itself serves is there as soon as it is told of.
func apiService() *Strategy {
	s := halves(
		func(s *apiregistrationv1.APIService) *apiregistrationv1.APIServiceSpec { return &s.Spec },
		func(s *apiregistrationv1.APIService) *apiregistrationv1.APIServiceStatus { return &s.Status },
		false, keepMeta)
	create := s.Create
	s.Create = func(o runtime.Object) {
		create(o)
		if a := o.(*apiregistrationv1.APIService); a.Spec.Service == nil {
			a.Status.Conditions = []apiregistrationv1.APIServiceCondition{{
				Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, LastTransitionTime: a.CreationTimestamp,
				Reason: "Local", Message: "Local APIServices are always available",
			}}
		}
	}
	return s
}

// A definition's status remembers every version that objects were stored in.
func customResourceDefinition() *Strategy {
	s := halves(
		func(c *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionSpec {
			return &c.Spec
		},
		func(c *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionStatus {
			return &c.Status
		}, true, keepMeta)
	create, update := s.Create, s.Update
	s.Create = func(o runtime.Object) {
		create(o)
		remember(o.(*apiextensionsv1.CustomResourceDefinition))
	}
	s.Update = func(o, was runtime.Object) {
		update(o, was)
		remember(o.(*apiextensionsv1.CustomResourceDefinition))
	}
	return s
}

func remember(c *apiextensionsv1.CustomResourceDefinition) {
	for _, v := range c.Spec.Versions {
		if v.Storage && !slices.Contains(c.Status.StoredVersions, v.Name) {
			c.Status.StoredVersions = append(slices.Clone(c.Status.StoredVersions), v.Name)
		}
	}
}
