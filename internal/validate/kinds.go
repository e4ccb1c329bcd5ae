package validate

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kinds returns the table: a row a kind, its rules in a file of the kind's name.
func kinds() map[schema.GroupResource]*rules {
	core := func(name string) schema.GroupResource { return schema.GroupResource{Resource: name} }
	return map[schema.GroupResource]*rules{
		core("configmaps"):             configMapRules,
		core("persistentvolumeclaims"): claimRules,
		core("pods"):                   podRules,
		core("secrets"):                secretRules,
		{Group: "storage.k8s.io", Resource: "csidrivers"}: csiDriverRules,
		{Group: "storage.k8s.io", Resource: "csinodes"}:   csiNodeRules,
	}
}
