// Package validate holds each kind's rules: what a user may store, with the
// fields and texts that upstream uses, since people and programs read them.
//
// A rule looks at an object of the stored version that has been defaulted and
// admitted, and at the object that it replaces. It changes nothing and looks
// nothing up.
package validate

import (
	"clipper/internal/scheme"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// rules are one kind's. What is nil is not checked beyond the metadata.
type rules struct {
	// create judges a new object; update one that replaces old.
	create func(obj runtime.Object) field.ErrorList
	update func(obj, old runtime.Object) field.ErrorList
	// subresources judge a write through a subresource, by its name.
	subresources map[string]func(obj, old runtime.Object) field.ErrorList
	// warnings are for what is allowed, but seldom meant. old is nil for a new object.
	warnings func(obj, old runtime.Object) []string
	// name returns what is wrong with a name; nil is a DNS subdomain.
	name func(name string, prefix bool) []string
}

// Rules are those of all kinds.
type Rules struct {
	byKind map[schema.GroupResource]*rules
}

// New returns the rules of the table's kinds.
func New(*scheme.Table) *Rules { return &Rules{byKind: kinds()} }

// Create returns what is wrong with a new object, and warnings.
func (v *Rules) Create(r *scheme.Resource, obj runtime.Object) (field.ErrorList, []string) {
	k := v.of(r)
	errs := createMeta(r, k, obj)
	if k.create != nil {
		errs = append(errs, k.create(obj)...)
	}
	return errs, k.warn(obj, nil)
}

// Update returns what is wrong with an object that replaces old, and warnings.
func (v *Rules) Update(r *scheme.Resource, obj, old runtime.Object) (field.ErrorList, []string) {
	k := v.of(r)
	errs := updateMeta(obj, old)
	if k.update != nil {
		errs = append(errs, k.update(obj, old)...)
	}
	return errs, k.warn(obj, old)
}

// UpdateSubresource returns what is wrong with a write through a subresource
// that reads and writes the object.
func (v *Rules) UpdateSubresource(r *scheme.Resource, subresource string, obj, old runtime.Object) (field.ErrorList, []string) {
	errs := updateMeta(obj, old)
	if f := v.of(r).subresources[subresource]; f != nil {
		errs = append(errs, f(obj, old)...)
	}
	return errs, nil
}

var none = &rules{} // never changed

func (v *Rules) of(r *scheme.Resource) *rules {
	if k := v.byKind[r.Stored.GroupResource()]; k != nil {
		return k
	}
	return none
}

func (k *rules) warn(obj, old runtime.Object) []string {
	if k.warnings == nil {
		return nil
	}
	return k.warnings(obj, old)
}

// rule adapts a rule of one type.
func rule[T runtime.Object](f func(T) field.ErrorList) func(runtime.Object) field.ErrorList {
	return func(obj runtime.Object) field.ErrorList { return f(obj.(T)) }
}

// change adapts a rule of one type for updates.
func change[T runtime.Object](f func(obj, old T) field.ErrorList) func(obj, old runtime.Object) field.ErrorList {
	return func(obj, old runtime.Object) field.ErrorList { return f(obj.(T), old.(T)) }
}
