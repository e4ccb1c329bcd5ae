package validate

import (
	"strings"

	"clipper/internal/cel"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// mostWork bounds what it takes to compile all expressions of an object: types
// are found in a time that grows with the square of the operators. One of 8,192
// takes seconds, and nobody writes such.
const mostWork = 1 << 26

// affords tells whether expressions can be compiled besides those that have been,
// and adds that they cannot.
func (e *problems) affords(at *field.Path, expressions ...string) bool {
	for _, x := range expressions {
		n := 0
		for i := range len(x) {
			if strings.IndexByte("([{,=!<>?&|+-*/%", x[i]) >= 0 {
				n++
			}
		}
		e.work += n * n
	}
	if e.work > mostWork {
		e.forbidden(at, "too long to be compiled, together with the object's other expressions")
		return false
	}
	return true
}

// refused adds why an expression was, if it was.
func (e *problems) refused(at *field.Path, value any, err *cel.Error) {
	switch {
	case err == nil:
	case err.Type == apiservercel.ErrorTypeInternal:
		e.add(field.InternalError(at, err))
	case err.Type == apiservercel.ErrorTypeRequired:
		e.required(at, err.Detail)
	default:
		e.invalid(at, value, err.Detail)
	}
}

// storedExpressions are those that an object held before. They may use what new ones
// may not.
type storedExpressions map[string]bool

// before returns the expressions that the object held, to add to.
func (e *problems) before() storedExpressions {
	if e.stored == nil { // most objects hold none
		e.stored = storedExpressions{}
	}
	return e.stored
}

// add adds the conditions and variables that policies and webhooks have alike.
func (s storedExpressions) add(conditions []admissionregistrationv1.MatchCondition, variables []admissionregistrationv1.Variable) {
	for _, c := range conditions {
		s[c.Expression] = true
	}
	for _, v := range variables {
		s[v.Expression] = true
	}
}

func (s storedExpressions) origin(expression string) cel.Origin {
	if s[expression] {
		return cel.Stored
	}
	return cel.New
}

// policyExpressions compiles the expressions of one policy or webhook. It makes
// each environment once.
type policyExpressions struct {
	e            *problems
	params       bool
	variables    *cel.Variables // nil where there is no such name
	environments map[cel.Scope]*cel.Environment
}

func newPolicyExpressions(e *problems, k *admissionregistrationv1.ParamKind, variables bool) *policyExpressions {
	x := &policyExpressions{e: e, params: k != nil, environments: map[cel.Scope]*cel.Environment{}}
	if variables {
		x.variables = cel.NewVariables()
	}
	return x
}

// compile adds what is wrong with an expression, and returns what it gives, nil
// if nothing. What it may refer to besides parameters and variables is said in s.
func (x *policyExpressions) compile(at *field.Path, expression string, s cel.Scope, wanted ...*cel.Type) *cel.Type {
	if !x.e.affords(at, expression) {
		return nil
	}
	s.Params = x.params
	if x.environments[s] == nil {
		env, err := x.e.cel.Admission(s, x.variables)
		if err != nil {
			x.e.add(field.InternalError(at, err))
			return nil
		}
		x.environments[s] = env
	}
	compiled, err := x.environments[s].Compile(expression, x.e.stored.origin(expression), wanted...)
	x.e.refused(at, expression, err)
	return compiled.Type
}
