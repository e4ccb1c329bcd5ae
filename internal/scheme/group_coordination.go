package scheme

import coordinationv1 "k8s.io/api/coordination/v1"

func coordinationRows() []*Resource {
	return []*Resource{
		row[coordinationv1.Lease, coordinationv1.LeaseList](Resource{
			Group: "coordination.k8s.io", Version: "v1",
			Kind: "Lease", Name: "leases", Singular: "lease",
			Namespaced: true, Verbs: everyVerb, Prefix: "leases", Lazy: true,
		}),
	}
}
