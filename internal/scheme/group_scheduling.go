package scheme

import schedulingv1 "k8s.io/api/scheduling/v1"

func schedulingRows() []*Resource {
	return []*Resource{
		row[schedulingv1.PriorityClass, schedulingv1.PriorityClassList](Resource{
			Group: "scheduling.k8s.io", Version: "v1",
			Kind: "PriorityClass", Name: "priorityclasses", Singular: "priorityclass",
			Default:    defaulter(defaultPriorityClass),
			ShortNames: []string{"pc"}, Verbs: everyVerb, Prefix: "priorityclasses",
		}),
	}
}
