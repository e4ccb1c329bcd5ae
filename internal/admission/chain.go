package admission

import (
	"context"

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
	mutators   []Mutator
	validators []Validator
}

// NewChain returns a chain of plugins; each is called as the Mutator and as
// the Validator it is.
func NewChain(plugins ...Plugin) *Chain {
	c := &Chain{}
	for _, p := range plugins {
		if m, ok := p.(Mutator); ok {
			c.mutators = append(c.mutators, m)
		}
		if v, ok := p.(Validator); ok {
			c.validators = append(c.validators, v)
		}
	}
	return c
}

// New returns the chain of the plugins that are always on, in upstream's order.
func New(c Config) *Chain {
	return NewChain(
		&NamespaceLifecycle{c.Objects},
		&LimitRanger{c.Objects},
		&ServiceAccount{Config: c},
		&NodeRestriction{c.Objects},
		TaintNodesByCondition{},
		&Priority{c.Objects},
		DefaultTolerationSeconds{},
		&DefaultStorageClass{c.Objects},
		StorageObjectInUseProtection{},
		&PersistentVolumeClaimResize{c.Objects},
		&RuntimeClass{c.Objects},
		&CertificateApproval{c.Permit},
		&CertificateSigning{c.Permit},
		CertificateSubjectRestriction{},
		&DefaultIngressClass{c.Objects},
		NewResourceQuota(c.Objects, c.Clock),
	)
}

// Admit calls the mutators.
func (c *Chain) Admit(ctx context.Context, a *Attributes) error {
	for _, m := range c.mutators {
		if err := m.Admit(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// Validate calls the validators.
func (c *Chain) Validate(ctx context.Context, a *Attributes) error {
	for _, v := range c.validators {
		if err := v.Validate(ctx, a); err != nil {
			return err
		}
	}
	return nil
}
