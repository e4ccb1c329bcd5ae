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
	// Verbs that the collection and its objects answer, sorted.
	Verbs        []string
	Subresources []Subresource

	// Prefix is where objects are stored below /registry/, without slashes at
	// its ends; it is upstream's, quirks and all ("services/specs", "minions").
	// It is empty for a kind that is only ever created and answered, such as a
	// TokenReview: see IsStored.
	Prefix string
	// Stored is the row whose form the store and the watch cache hold; the row
	// itself unless the kind is served in several versions.
	Stored *Resource
	// ToStored and FromStored convert at the edge; nil when Stored is the row.
	// They may share parts of the object, which must not be changed afterwards.
	ToStored, FromStored func(runtime.Object) (runtime.Object, error)

	// New and NewList return an empty object and list of this version, with
	// their kind set.
	New, NewList func() runtime.Object
	// Default fills in what the user left out, in place, as upstream does. It
	// is never nil.
	Default func(runtime.Object)
	// Fields returns the fields a selector may name, metadata.name and
	// metadata.namespace included. It takes the stored form.
	Fields func(runtime.Object) fields.Fields
	// FieldNames are the fields that Fields answers, and no others may be asked.
	FieldNames  []string
	plainFields bool // they are those of every kind
	// unselected is what is said of another field, if not what is said elsewhere.
	unselected string
	// Lazy allows writes to be synced late (Leases, Events).
	Lazy bool
	// Unvalidated marks a kind whose validation rules are still to come; the
	// composition root may leave it out: see Table.Validated.
	Unvalidated bool

	apiVersion string
	settler    func() *settler // nil: there is nothing to settle
	// What every encoding of an object of the row starts with: in JSON up to
	// and with the comma after the kind, in protobuf up to the raw bytes' tag.
	jsonHead, protoHead string
}

// Subresource is one path below an object.
type Subresource struct {
	// Name as in the path, such as "status" or "scale".
	Name string
	// Kind that the path reads and writes, when it is not the object's own.
	Kind  schema.GroupVersionKind
	Verbs []string
	// NoTable tells that what the path answers is not shown as a table.
	NoTable bool
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

// APIVersion returns what objects of the row say in their apiVersion.
func (r *Resource) APIVersion() string { return r.apiVersion }

// IsStored tells whether objects of the row are kept at all.
func (r *Resource) IsStored() bool { return r.Prefix != "" }

// Subresource returns the subresource of that name, or nil.
func (r *Resource) Subresource(name string) *Subresource {
	for i := range r.Subresources {
		if r.Subresources[i].Name == name {
			return &r.Subresources[i]
		}
	}
	return nil
}

// HasVerb tells whether the collection and its objects answer the verb.
func (r *Resource) HasVerb(verb string) bool { return has(r.Verbs, verb) }

// HasVerb tells whether the subresource answers the verb.
func (s *Subresource) HasVerb(verb string) bool { return has(s.Verbs, verb) }

func has(verbs []string, verb string) bool {
	for _, v := range verbs {
		if v == verb {
			return true
		}
	}
	return false
}

// Key returns where the object is stored. An empty name gives the prefix, with
// its closing slash, of a namespace (or of the whole resource).
func (r *Resource) Key(namespace, name string) string {
	if r.Namespaced && namespace != "" {
		return "/registry/" + r.Stored.Prefix + "/" + namespace + "/" + name
	}
	return "/registry/" + r.Stored.Prefix + "/" + name
}
