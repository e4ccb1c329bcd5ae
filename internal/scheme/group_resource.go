package scheme

import resourcev1 "k8s.io/api/resource/v1"

func resourceRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Verbs, r.Prefix = "resource.k8s.io", "v1", everyVerb, r.Name
		return r
	}
	return []*Resource{
		row[resourcev1.DeviceClass, resourcev1.DeviceClassList](in(Resource{
			Kind: "DeviceClass", Name: "deviceclasses", Singular: "deviceclass",
		})),
		row[resourcev1.ResourceClaim, resourcev1.ResourceClaimList](in(Resource{
			Kind: "ResourceClaim", Name: "resourceclaims", Singular: "resourceclaim",
			Default: defaulter(defaultResourceClaim), Namespaced: true, Subresources: []Subresource{{Name: "status", Verbs: readWrite, NoTable: true}},
		})),
		row[resourcev1.ResourceClaimTemplate, resourcev1.ResourceClaimTemplateList](in(Resource{
			Kind: "ResourceClaimTemplate", Name: "resourceclaimtemplates", Singular: "resourceclaimtemplate",
			Default: defaulter(defaultResourceClaimTemplate), Namespaced: true,
		})),
		row[resourcev1.ResourceSlice, resourcev1.ResourceSliceList](in(Resource{
			Kind: "ResourceSlice", Name: "resourceslices", Singular: "resourceslice",
			Default:    defaulter(defaultResourceSlice),
			unselected: "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: %s",
			Fields:     selectable(resourceSliceField), FieldNames: []string{"spec.driver", "spec.nodeName"},
		})),
	}
}

func resourceSliceField(s *resourcev1.ResourceSlice, name string) (string, bool) {
	switch name {
	case "spec.driver":
		return s.Spec.Driver, true
	case "spec.nodeName":
		if s.Spec.NodeName == nil {
			return "", true
		}
		return *s.Spec.NodeName, true
	}
	return "", false
}
