package scheme

import nodev1 "k8s.io/api/node/v1"

func nodeRows() []*Resource {
	return []*Resource{
		row[nodev1.RuntimeClass, nodev1.RuntimeClassList](Resource{
			Group: "node.k8s.io", Version: "v1",
			Kind: "RuntimeClass", Name: "runtimeclasses", Singular: "runtimeclass",
			Verbs: everyVerb, Prefix: "runtimeclasses",
		}),
	}
}
