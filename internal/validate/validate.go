// Package validate holds each kind's rules: what a user may store, with the
// fields and texts that upstream uses, since people and programs read them.
//
// A rule looks at an object of the stored version that has been defaulted and
// admitted, and at the object that it replaces. It changes nothing and looks
// nothing up.
package validate

import (
	"clipper/internal/cel"
	"clipper/internal/scheme"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// rules are one kind's. What is nil is not checked beyond the metadata.
type rules struct {
	// create judges a new object; update one that replaces old.
	create func(e *problems, obj runtime.Object)
	update func(e *problems, obj, old runtime.Object)
	// subresources judge a write through a subresource, by its name.
	subresources subresources
	// warnings are for what is allowed, but seldom meant. old is nil for a new object.
	warnings func(obj, old runtime.Object) []string
	// name returns what is wrong with a name; nil is a DNS subdomain.
	name func(name string, prefix bool) []string
}

type subresources = map[string]func(e *problems, obj, old runtime.Object)

// Rules are those of all kinds.
type Rules struct {
	table  *scheme.Table
	byKind map[schema.GroupResource]*rules
	cel    *cel.Compiler
}

// New returns the rules of the table's kinds, whose expressions c compiles.
func New(t *scheme.Table, c *cel.Compiler) *Rules { return &Rules{t, kinds(), c} }

// Create returns what is wrong with a new object, and warnings.
func (v *Rules) Create(r *scheme.Resource, obj runtime.Object) (field.ErrorList, []string) {
	k := v.of(r)
	e := problems{list: createMeta(r, k, obj), cel: v.cel}
	if k.create != nil {
		k.create(&e, obj)
	}
	return e.list, append(k.warn(obj, nil), e.warnings...)
}

// Update returns what is wrong with an object that replaces old, and warnings.
func (v *Rules) Update(r *scheme.Resource, obj, old runtime.Object) (field.ErrorList, []string) {
	k := v.of(r)
	e := problems{list: updateMeta(r, k, obj, old), cel: v.cel, old: old}
	if k.update != nil {
		k.update(&e, obj, old)
	}
	return e.list, append(k.warn(obj, old), e.warnings...)
}

// UpdateSubresource returns what is wrong with a write through a subresource
// that reads and writes the object.
func (v *Rules) UpdateSubresource(r *scheme.Resource, subresource string, obj, old runtime.Object) (field.ErrorList, []string) {
	e := problems{list: updateMeta(r, nil, obj, old), cel: v.cel, old: old}
	if f := v.of(r).subresources[subresource]; f != nil {
		f(&e, obj, old)
	}
	return e.list, e.warnings
}

var none = &rules{} // never changed

// of returns the rules of a resource: its own, as it is served, or those of what
// it is stored as.
func (v *Rules) of(r *scheme.Resource) *rules {
	if k := v.byKind[r.GroupResource()]; k != nil {
		return k
	}
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
func rule[T runtime.Object](f func(*problems, T)) func(*problems, runtime.Object) {
	return func(e *problems, obj runtime.Object) { f(e, obj.(T)) }
}

// change adapts a rule of one type for updates.
func change[T runtime.Object](f func(e *problems, obj, old T)) func(e *problems, obj, old runtime.Object) {
	return func(e *problems, obj, old runtime.Object) { f(e, obj.(T), old.(T)) }
}

// same adapts a rule that holds for new objects to those that replace others.
func same[T runtime.Object](f func(*problems, T)) func(e *problems, obj, old runtime.Object) {
	return func(e *problems, obj, _ runtime.Object) { f(e, obj.(T)) }
}

// warning adapts warnings of one type. old is the type's zero for a new object.
func warning[T runtime.Object](f func(obj, old T) []string) func(obj, old runtime.Object) []string {
	return func(obj, old runtime.Object) []string {
		was, _ := old.(T)
		return f(obj.(T), was)
	}
}
