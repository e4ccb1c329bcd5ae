package scheme

import policyv1 "k8s.io/api/policy/v1"

func policyRows() []*Resource {
	return []*Resource{
		row[policyv1.PodDisruptionBudget, policyv1.PodDisruptionBudgetList](Resource{
			Group: "policy", Version: "v1",
			Kind: "PodDisruptionBudget", Name: "poddisruptionbudgets", Singular: "poddisruptionbudget",
			ShortNames: []string{"pdb"}, Namespaced: true, Verbs: everyVerb, Prefix: "poddisruptionbudgets",
			Subresources: []Subresource{status()},
		}),
	}
}
