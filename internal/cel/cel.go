// Package cel compiles the expressions that built-in kinds hold, and says why
// one cannot be: with upstream's libraries, variables, types and limits, so that
// what is stored is what upstream would store.
//
// There are three places where expressions stand, each with an entry of its own:
// policies and webhooks (Admission), selectors of devices (Device), and the rules
// of custom resources' schemas (Rules). Each says what an expression gives and
// hands out the program that was made of it, so that whoever evaluates compiles
// once and keeps it, by the expression and the place.
//
// An expression that is new may use only what the version before this one
// understands; one that has been stored is compiled with all there ever was.
//
// Environments are made when they are first needed, and nothing is made at the
// start. The base of all takes 3 ms, and the parser's tables another 3 once; both
// stay, half a megabyte together, since the library keeps them, as it does the
// devices' 60 KB. Those of policies and webhooks, 60 KB and 0.7 ms each, are held
// weakly: a collection while none is in use takes them away.
package cel

import (
	"strings"
	"sync"
	"weak"

	"github.com/google/cel-go/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	dracel "k8s.io/dynamic-resource-allocation/cel"
)

// longestReason bounds what is said of one expression. Each of a hundred errors
// shows the line that it is in twice, which may have 16 KiB.
const longestReason = 64 << 10

// An Error is why an expression is refused.
type Error = apiservercel.Error

// Origin is where an expression comes from: whoever sends it, or the store.
type Origin = environment.Type

// Where expressions come from.
const (
	New    = environment.NewExpressions
	Stored = environment.StoredExpressions
)

// Compiler makes environments and compiles expressions in them. Many may use it
// side by side.
type Compiler struct {
	mu        sync.Mutex
	admission map[Scope]weak.Pointer[environment.EnvSet]
}

// NewCompiler returns a compiler. It has made nothing yet.
func NewCompiler() *Compiler {
	return &Compiler{admission: map[Scope]weak.Pointer[environment.EnvSet]{}}
}

// base is what all environments have in common. The library keeps it.
func base() *environment.EnvSet {
	return environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
}

// Device compiles the selector of a device.
func (c *Compiler) Device(expression string, origin Origin) dracel.CompilationResult {
	r := dracel.GetCompiler(dracel.Features{EnableConsumableCapacity: true}).CompileCELExpression(expression, dracel.Options{EnvType: &origin})
	shorten(r.Error)
	return r
}

// Rules compiles the rules of a schema itself, and not of those within it.
// origin tells where each expression comes from.
func (c *Compiler) Rules(s *schema.Structural, t *apiservercel.DeclType, origin func(expression string) Origin) ([]schemacel.CompilationResult, error) {
	all, err := schemacel.Compile(s, t, celconfig.PerCallLimit, base(), loader(origin))
	for i := range all {
		shorten(all[i].Error)
		shorten(all[i].MessageExpressionError)
	}
	return all, err
}

// loader chooses the environment of each expression of a schema.
type loader func(expression string) Origin

func (l loader) RuleEnv(set *environment.EnvSet, expression string) *cel.Env {
	if l(expression) == Stored {
		return set.StoredExpressionsEnv()
	}
	return set.NewExpressionsEnv()
}

func (l loader) MessageExpressionEnv(set *environment.EnvSet, expression string) *cel.Env {
	return l.RuleEnv(set, expression)
}

func shorten(e *Error) {
	if e != nil && len(e.Detail) > longestReason {
		e.Detail = strings.ToValidUTF8(e.Detail[:longestReason], "") + " ..."
	}
}
