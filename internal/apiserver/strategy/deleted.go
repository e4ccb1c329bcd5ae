package strategy

import "k8s.io/apimachinery/pkg/runtime/schema"

// returned are the resources whose deletion is answered with the object, as
// upstream's OpenAPI documents say; of others it is answered with a Status.
func returned() []schema.GroupResource {
	var out []schema.GroupResource
	for _, g := range []struct {
		group string
		names []string
	}{
		{"", []string{
			"persistentvolumeclaims", "persistentvolumes", "pods", "podtemplates", "resourcequotas", "serviceaccounts", "services",
		}},
		{"resource.k8s.io", []string{"deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"}},
		{"storage.k8s.io", []string{"csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"}},
	} {
		for _, n := range g.names {
			out = append(out, schema.GroupResource{Group: g.group, Resource: n})
		}
	}
	return out
}
