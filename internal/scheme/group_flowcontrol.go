package scheme

import flowcontrolv1 "k8s.io/api/flowcontrol/v1"

func flowcontrolRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Verbs, r.Prefix = "flowcontrol.apiserver.k8s.io", "v1", everyVerb, r.Name
		r.Subresources = []Subresource{status()}
		return r
	}
	return []*Resource{
		row[flowcontrolv1.FlowSchema, flowcontrolv1.FlowSchemaList](in(Resource{
			Kind: "FlowSchema", Name: "flowschemas", Singular: "flowschema",
			Default: defaulter(defaultFlowSchema),
		})),
		row[flowcontrolv1.PriorityLevelConfiguration, flowcontrolv1.PriorityLevelConfigurationList](in(Resource{
			Kind: "PriorityLevelConfiguration", Name: "prioritylevelconfigurations", Singular: "prioritylevelconfiguration",
			Default: defaulter(defaultPriorityLevelConfiguration),
		})),
	}
}
