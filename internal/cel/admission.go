package cel

import (
	"fmt"
	"weak"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"k8s.io/apimachinery/pkg/util/version"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/mutation"
)

// Scope is what expressions of policies and webhooks may refer to besides the
// request, its objects and its namespace.
type Scope struct {
	Params     bool // the policy's parameters
	Authorizer bool // what its user may do
	Patches    bool // the objects and patches that a mutation makes
}

// Type is what an expression gives.
type Type = cel.Type

// What expressions are asked to give: the last two are what mutations do.
var ( // never changed
	BoolType    = cel.BoolType
	StringType  = cel.StringType
	NullType    = cel.NullType
	ObjectType  = cel.ObjectType(mutation.ObjectTypeName)
	PatchesType = cel.ListType(cel.ObjectType(mutation.JSONPatchTypeName))
)

// An Environment is where expressions of a policy or a webhook are compiled.
type Environment struct{ set *environment.EnvSet }

// Compiled is an expression that was compiled: what it gives, and its program.
type Compiled struct {
	Type    *Type
	Program cel.Program
}

// Admission returns the environment of a scope. variables are nil where there
// are none to refer to.
func (c *Compiler) Admission(s Scope, variables *Variables) (*Environment, error) {
	set, err := c.scope(s)
	if err != nil || variables == nil {
		return &Environment{set}, err
	}
	set, err = set.Extend(environment.VersionedOptions{
		IntroducedVersion: always(),
		EnvOptions:        []cel.EnvOption{cel.Variable("variables", variablesType), common.ResolverEnvOption(variables)},
	})
	return &Environment{set}, err
}

// scope returns a scope's environment, of which there is one at a time.
func (c *Compiler) scope(s Scope) (*environment.EnvSet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if set := c.admission[s].Value(); set != nil {
		return set, nil
	}
	o := environment.VersionedOptions{
		IntroducedVersion: always(),
		DeclTypes:         requestTypes(),
		EnvOptions:        []cel.EnvOption{cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType)},
	}
	for i, name := range []string{"request", "namespaceObject"} {
		o.EnvOptions = append(o.EnvOptions, cel.Variable(name, o.DeclTypes[i].CelType()))
	}
	if s.Params {
		o.EnvOptions = append(o.EnvOptions, cel.Variable("params", cel.DynType))
	}
	if s.Authorizer {
		o.EnvOptions = append(o.EnvOptions, cel.Variable("authorizer", library.AuthorizerType), cel.Variable("authorizer.requestResource", library.ResourceCheckType))
	}
	set, err := base().Extend(o)
	if s.Patches && err == nil { // of its own: what finds types is put before what found them so far
		set, err = set.Extend(environment.VersionedOptions{
			IntroducedVersion: always(),
			EnvOptions:        []cel.EnvOption{library.JSONPatch(), common.ResolverEnvOption(&mutation.DynamicTypeResolver{})},
		})
	}
	if err == nil {
		c.admission[s] = weak.Make(set)
	}
	return set, err
}

// always is the version of what expressions of any age may use.
func always() *version.Version { return version.MajorMinor(1, 0) }

// Compile compiles an expression that gives one of the wanted types, or any if
// none is wanted.
func (e *Environment) Compile(expression string, origin Origin, wanted ...*Type) (Compiled, *Error) {
	env, err := e.set.Env(origin)
	if err != nil {
		return Compiled{}, &Error{Type: apiservercel.ErrorTypeInternal, Detail: err.Error()}
	}
	ast, issues := env.Compile(expression)
	if issues != nil {
		e := &Error{Type: apiservercel.ErrorTypeInvalid, Detail: "compilation failed: " + issues.String()}
		shorten(e)
		return Compiled{}, e
	}
	if text := disagrees(ast.OutputType(), wanted); text != "" {
		return Compiled{}, &Error{Type: apiservercel.ErrorTypeInvalid, Detail: text}
	}
	program, err := env.Program(ast)
	if err != nil {
		return Compiled{}, &Error{Type: apiservercel.ErrorTypeInternal, Detail: "program instantiation failed: " + err.Error()}
	}
	return Compiled{ast.OutputType(), program}, nil
}

// disagrees says that a type is none of the wanted.
func disagrees(got *Type, wanted []*Type) string {
	for _, w := range wanted {
		if got.IsExactType(w) {
			return ""
		}
	}
	switch len(wanted) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("must evaluate to %v but got %v", wanted[0], got)
	}
	return fmt.Sprintf("must evaluate to one of %v but got %v", wanted, got)
}

// Variables are a policy's own. Each is declared once its expression is
// compiled, for those that come after it.
type Variables struct{ types map[string]*types.FieldType }

// NewVariables returns none yet.
func NewVariables() *Variables { return &Variables{map[string]*types.FieldType{}} }

var variablesType = cel.ObjectType("kubernetes.variables") // never changed

// Declare adds a variable, or changes what it is. Of one that could not be
// compiled, a nil type, anything is believed.
func (v *Variables) Declare(name string, t *Type) {
	v.types[name] = &types.FieldType{Type: remembered(t)}
}

// remembered is what of a type is known where a variable is used: scalars,
// moments and durations, and lists and maps of them. Of all else, anything is believed.
func remembered(t *Type) *Type {
	if t == nil {
		return cel.DynType
	}
	switch t.Kind() {
	case types.BoolKind, types.BytesKind, types.DoubleKind, types.DurationKind, types.IntKind, types.NullTypeKind, types.StringKind, types.TimestampKind, types.UintKind:
		return t
	case types.ListKind:
		return cel.ListType(remembered(t.Parameters()[0]))
	case types.MapKind:
		return cel.MapType(remembered(t.Parameters()[0]), remembered(t.Parameters()[1]))
	}
	return cel.DynType
}

// Resolve finds the variables' type by its name.
func (v *Variables) Resolve(name string) (common.ResolvedType, bool) {
	return declared{v}, name == variablesType.TypeName()
}

// declared is the type of variables.
type declared struct{ *Variables }

func (d declared) HasTrait(trait int) bool { return variablesType.HasTrait(trait) }
func (d declared) TypeName() string        { return variablesType.TypeName() }
func (d declared) Type() *types.Type       { return types.NewTypeTypeWithParam(variablesType) }

func (d declared) Field(name string) (*types.FieldType, bool) {
	f, ok := d.types[name]
	return f, ok
}

func (d declared) FieldNames() (names []string, _ bool) {
	for name := range d.types {
		names = append(names, name)
	}
	return names, true
}

func (d declared) Val(map[string]ref.Val) ref.Val {
	return types.NewErr("variables are not made by expressions")
}

// requestTypes are those of a request and of its namespace, the first two, and
// of what is in them.
func requestTypes() []*apiservercel.DeclType {
	type fields map[string]*apiservercel.DeclType
	object := func(name string, of fields) *apiservercel.DeclType {
		all := map[string]*apiservercel.DeclField{}
		for name, t := range of {
			all[name] = apiservercel.NewDeclField(name, t, false, nil, nil)
		}
		return apiservercel.NewObjectType("kubernetes."+name, all)
	}
	const unbounded = -1
	text, truth, number, moment := apiservercel.StringType, apiservercel.BoolType, apiservercel.IntType, apiservercel.TimestampType
	list := func(of *apiservercel.DeclType) *apiservercel.DeclType { return apiservercel.NewListType(of, unbounded) }
	named := func(of *apiservercel.DeclType) *apiservercel.DeclType {
		return apiservercel.NewMapType(text, of, unbounded)
	}

	kind := object("GroupVersionKind", fields{"group": text, "version": text, "kind": text})
	resource := object("GroupVersionResource", fields{"group": text, "version": text, "resource": text})
	user := object("UserInfo", fields{"username": text, "uid": text, "groups": list(text), "extra": named(list(text))})
	request := object("AdmissionRequest", fields{
		"kind": kind, "resource": resource, "subResource": text,
		"requestKind": kind, "requestResource": resource, "requestSubResource": text,
		"name": text, "namespace": text, "operation": text, "userInfo": user, "dryRun": truth, "options": apiservercel.DynType,
	})
	meta := object("NamespaceMetadata", fields{
		"name": text, "generateName": text, "namespace": text, "resourceVersion": text, "generation": number,
		"creationTimestamp": moment, "deletionTimestamp": moment, "deletionGracePeriodSeconds": number,
		"labels": named(text), "annotations": named(text), "finalizers": list(text),
	})
	spec := object("NamespaceSpec", fields{"finalizers": list(text)})
	condition := object("NamespaceCondition", fields{"type": text, "status": text, "lastTransitionTime": moment, "reason": text, "message": text})
	status := object("NamespaceStatus", fields{"phase": text, "conditions": list(condition)})
	namespace := object("Namespace", fields{"metadata": meta, "spec": spec, "status": status})
	return []*apiservercel.DeclType{request, namespace, kind, resource, user, meta, spec, condition, status}
}
