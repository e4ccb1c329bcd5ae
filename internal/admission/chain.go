package admission

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
)

// Objects reads the newest state of the cluster; the watch cache does. What it
// returns is shared and read-only.
type Objects interface {
	// Object returns nil if there is no such object.
	Object(resource schema.GroupResource, namespace, name string) metav1.Object
	// Objects returns all of a namespace, or of the cluster if it is empty.
	Objects(resource schema.GroupResource, namespace string) []runtime.Object
	// Await returns an object as soon as it exists, or nil when ctx ends.
	Await(ctx context.Context, resource schema.GroupResource, namespace, name string) metav1.Object
}

// Config is what the built-in plugins need.
type Config struct {
	Objects Objects
	Clock   clock.PassiveClock
	// Suffix returns n random letters and digits, for generated names.
	Suffix func(n int) string
	// Permit tells who may approve and sign; without it nobody may.
	Permit Permit
}

// Chain is the plugins of an API server, in the order they are called.
type Chain struct {
	clock           clock.PassiveClock
	admit, validate step
}

// On is a plugin and the operations it is called for, all if it names none.
type On struct {
	Plugin
	Operations []Operation
}

// NewChain returns a chain of plugins; each is called as the Mutator and as
// the Validator it is.
func NewChain(c clock.PassiveClock, plugins ...On) *Chain {
	chain := &Chain{clock: c}
	for _, p := range plugins {
		if m, ok := p.Plugin.(Mutator); ok {
			chain.admit.calls = append(chain.admit.calls, call{On: p, pass: m.Admit})
		}
		if v, ok := p.Plugin.(Validator); ok {
			chain.validate.calls = append(chain.validate.calls, call{On: p, pass: v.Validate})
		}
	}
	return chain
}

// New returns the chain of the plugins that are always on, in upstream's order.
func New(c Config) *Chain {
	on := func(p Plugin, operations ...Operation) On { return On{p, operations} }
	return NewChain(c.Clock,
		on(&NamespaceLifecycle{c.Objects}, Create, Update, Delete),
		on(&LimitRanger{c.Objects}, Create, Update),
		on(&ServiceAccount{Config: c}, Create, Update),
		on(&NodeRestriction{c.Objects}, Create, Update, Delete),
		on(TaintNodesByCondition{}, Create),
		on(&Priority{c.Objects}, Create, Update, Delete),
		on(DefaultTolerationSeconds{}, Create, Update),
		on(&DefaultStorageClass{c.Objects}, Create),
		on(StorageObjectInUseProtection{}, Create),
		on(&PersistentVolumeClaimResize{c.Objects}, Update),
		on(&RuntimeClass{c.Objects}, Create),
		on(&CertificateApproval{c.Permit}, Update),
		on(&CertificateSigning{c.Permit}, Update),
		on(CertificateSubjectRestriction{}, Create),
		on(&DefaultIngressClass{c.Objects}, Create),
		on(NewResourceQuota(c.Objects, c.Clock), Create, Update),
	)
}

// Admit calls the mutators.
func (c *Chain) Admit(ctx context.Context, a *Attributes) error {
	return c.admit.pass(ctx, a, c.clock)
}

// Validate calls the validators.
func (c *Chain) Validate(ctx context.Context, a *Attributes) error {
	return c.validate.pass(ctx, a, c.clock)
}

// step is one of the two times that a write passes the plugins.
type step struct {
	calls []call
	took  durations
}

// call is what a plugin does in a step.
type call struct {
	On
	pass func(context.Context, *Attributes) error
	took durations
}

// pass calls the plugins that look at such an operation until one rejects it,
// and counts how long each took, and all.
func (s *step) pass(ctx context.Context, a *Attributes, clock clock.PassiveClock) (err error) {
	began := clock.Now()
	now := began
	for i := range s.calls {
		c := &s.calls[i]
		if len(c.Operations) > 0 && !slices.Contains(c.Operations, a.Operation) {
			continue
		}
		since := now
		err = c.pass(ctx, a)
		now = clock.Now()
		c.took.count(a.Operation, err, now.Sub(since))
		if err != nil {
			break
		}
	}
	s.took.count(a.Operation, err, now.Sub(began))
	return err
}
