package strategy

import "k8s.io/apimachinery/pkg/runtime/schema"

// returned are the resources whose deletion is answered with the object, as
// upstream's OpenAPI documents say; of others it is answered with a Status.
func returned() []schema.GroupResource {
	return resources([]named{
		{"", []string{
			"persistentvolumeclaims", "persistentvolumes", "pods", "podtemplates", "resourcequotas", "serviceaccounts", "services",
		}},
		{"resource.k8s.io", []string{"deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"}},
		{"storage.k8s.io", []string{"csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"}},
	})
}

// conditional are the kinds whose updates must say of which version they are.
func conditional() []schema.GroupResource {
	return resources([]named{
		{"admissionregistration.k8s.io", []string{
			"mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
			"validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
		}},
		{"apiextensions.k8s.io", []string{"customresourcedefinitions"}},
		{"apiregistration.k8s.io", []string{"apiservices"}},
		{"coordination.k8s.io", []string{"leases"}},
		{"node.k8s.io", []string{"runtimeclasses"}},
		{"policy", []string{"poddisruptionbudgets"}},
		{"storage.k8s.io", []string{"csidrivers", "csinodes", "csistoragecapacities", "volumeattachments"}},
	})
}

// named are resources of a group.
type named struct {
	group string
	names []string
}

func resources(groups []named) (all []schema.GroupResource) {
	for _, g := range groups {
		for _, n := range g.names {
			all = append(all, schema.GroupResource{Group: g.group, Resource: n})
		}
	}
	return all
}
