// Package admission decides whether a write that is authenticated, authorised,
// decoded and defaulted may pass, and completes it.
//
// The API server calls every mutating plugin, then validates the object, then
// calls every validating plugin, then stores. Plugins never see reads.
package admission

import (
	"context"

	"clipper/internal/scheme"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Operation is the kind of a write.
type Operation string

// The operations, named as webhooks and messages name them.
const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// Attributes is one write on its way to the store. A write that is tried again
// after a conflict passes with a new Attributes.
type Attributes struct {
	Resource    *scheme.Resource
	Subresource string
	// Namespace and Name are those of the request; Name is empty for a create
	// whose name is still to be generated.
	Namespace, Name string
	Operation       Operation
	// Object is the new state, of the stored version, and the mutating plugins'
	// to change; nil for deletions. For a subresource with a kind of its own
	// (pods/eviction, pods/binding) it is of that kind.
	Object runtime.Object
	// Old is the state before, shared and read-only; nil for creations.
	Old     runtime.Object
	User    user.Info
	DryRun  bool
	Options runtime.Object

	warnings []string
	finish   []func(error)
}

// Warn adds a warning to the answer's headers.
func (a *Attributes) Warn(text string) { a.warnings = append(a.warnings, text) }

// Warnings returns what plugins warned of.
func (a *Attributes) Warnings() []string { return a.warnings }

// OnFinish registers f to be called once with the fate of this write: nil after
// the store acknowledged it, or else why it was not made (a dry run ends with
// ErrDryRun). A plugin that reserved something keeps or frees it here.
func (a *Attributes) OnFinish(f func(error)) { a.finish = append(a.finish, f) }

// Finish calls what OnFinish registered, last first. The API server calls it.
func (a *Attributes) Finish(err error) {
	for i := len(a.finish) - 1; i >= 0; i-- {
		a.finish[i](err)
	}
	a.finish = nil
}

// Plugin is one admission plugin; it is also a Mutator, a Validator or both.
type Plugin interface {
	// Name is upstream's, such as "NamespaceLifecycle".
	Name() string
}

// Mutator may change Attributes.Object.
type Mutator interface {
	Plugin
	// Admit returns nil to let the write pass, or an apimachinery StatusError.
	Admit(ctx context.Context, a *Attributes) error
}

// Validator looks only, after all Mutators and the validation of the object.
type Validator interface {
	Plugin
	// Validate returns nil to let the write pass, or an apimachinery StatusError.
	Validate(ctx context.Context, a *Attributes) error
}
