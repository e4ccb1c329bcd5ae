package scheme

import (
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is one row of the table of kinds: a kind as one API version serves
// it. Rows are made once, at start, and never changed.
type Resource struct {
	Group, Version, Kind string
	// Name is the plural that paths and RBAC use; Singular the singular.
	Name, Singular string
	ShortNames     []string
	Categories     []string
	Namespaced     bool
	// Verbs that the collection and its objects answer.
	Verbs        []string
	Subresources []Subresource

	// Prefix is where objects are stored below /registry/, without slashes at
	// its ends; it is upstream's, quirks and all ("services/specs", "minions").
	Prefix string
	// Stored is the row whose form the store and the watch cache hold; the row
	// itself unless the kind is served in several versions.
	Stored *Resource
	// ToStored and FromStored convert at the edge; nil when Stored is the row.
	ToStored, FromStored func(runtime.Object) (runtime.Object, error)

	// New and NewList return an empty object and list of this version.
	New, NewList func() runtime.Object
	// Default fills in what the user left out, in place, as upstream does.
	Default func(runtime.Object)
	// Fields returns the fields a selector may name, metadata.name and
	// metadata.namespace included.
	Fields func(runtime.Object) fields.Set
	// FieldNames are the keys of Fields.
	FieldNames []string
	// Lazy allows writes to be synced late (Leases, Events).
	Lazy bool
}

// Subresource is one path below an object.
type Subresource struct {
	// Name as in the path, such as "status" or "scale".
	Name string
	// Kind that the path reads and writes, when it is not the object's own.
	Kind  schema.GroupVersionKind
	Verbs []string
}

// GroupVersionKind returns the row's kind in full.
func (r *Resource) GroupVersionKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}

// GroupVersionResource returns the row's resource in full.
func (r *Resource) GroupVersionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Name}
}

// GroupResource returns the row's resource without its version.
func (r *Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Name}
}

// Key returns where the object is stored. An empty name gives the prefix, with
// its closing slash, of a namespace (or of the whole resource).
func (r *Resource) Key(namespace, name string) string {
	k := "/registry/" + r.Stored.Prefix + "/"
	if r.Namespaced && namespace != "" {
		k += namespace + "/"
	}
	return k + name
}
