package cel

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/cel-go/cel"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
)

func admit(t testing.TB, c *Compiler, s Scope, v *Variables) *Environment {
	t.Helper()
	e, err := c.Admission(s, v)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What a scope holds can be referred to, and nothing else.
func TestScopes(t *testing.T) {
	c := NewCompiler()
	bound := NewVariables()
	bound.Declare("v", cel.StringType)
	for expression, in := range map[string][]int{
		"object.a == oldObject.a":                          {0, 1, 2, 3, 4},
		"request.userInfo.groups[0] == request.name":       {0, 1, 2, 3, 4},
		"namespaceObject.status.conditions[0].type == 'a'": {0, 1, 2, 3, 4},
		"params.a == 1": {1},
		"authorizer.requestResource.check('a').allowed()": {2},
		"Object{a: 1} == Object{}":                        {3},
		"jsonpatch.escapeKey('a') == 'a'":                 {3},
		"variables.v == 'a'":                              {4},
		"variables.w == 'a'":                              {},
	} {
		for i, s := range []Scope{{}, {Params: true}, {Authorizer: true}, {Patches: true}, {}} {
			var v *Variables
			if i == 4 {
				v = bound
			}
			_, err := admit(t, c, s, v).Compile(expression, New, cel.BoolType)
			if (err == nil) != slices.Contains(in, i) {
				t.Errorf("%s in %+v: %v", expression, s, err)
			}
		}
	}
}

func TestTypes(t *testing.T) {
	e := admit(t, NewCompiler(), Scope{Patches: true}, nil)
	for _, c := range []struct {
		expression string
		wanted     []*cel.Type
		gives      string // a type, or the reason
	}{
		{"1 + 1", nil, "int"},
		{"object.a", nil, "dyn"},
		{"Object{}", []*cel.Type{ObjectType}, "Object"},
		{"[JSONPatch{}]", []*cel.Type{PatchesType}, "list(JSONPatch)"},
		{"[]", []*cel.Type{PatchesType}, "must evaluate to list(JSONPatch) but got list(dyn)"},
		{"null", []*cel.Type{cel.StringType, cel.NullType}, "null_type"},
		{"1", []*cel.Type{cel.StringType, cel.NullType}, "must evaluate to one of [string null_type] but got int"},
		{"int('x')", nil, "program instantiation failed: type conversion error from 'string' to 'int'"},
		{"foo", nil, "compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo\n | ^"},
	} {
		compiled, err := e.Compile(c.expression, New, c.wanted...)
		got := ""
		if err != nil {
			got = err.Detail
		} else if got = compiled.Type.String(); compiled.Program == nil {
			t.Errorf("%s has no program", c.expression)
		}
		if got != c.gives {
			t.Errorf("%s gives %q, want %q", c.expression, got, c.gives)
		}
	}
}

// A variable is what it was last declared to be, also in environments that were
// made before; one that could not be compiled may be anything.
func TestVariables(t *testing.T) {
	v := NewVariables()
	e := admit(t, NewCompiler(), Scope{}, v)
	typeOf := func() string {
		c, err := e.Compile("variables.a", New)
		if err != nil {
			return "none"
		}
		return c.Type.String()
	}
	for _, step := range []struct {
		declare func()
		want    string
	}{
		{func() {}, "none"},
		{func() { v.Declare("a", cel.IntType) }, "int"},
		{func() { v.Declare("a", cel.StringType) }, "string"},
		{func() { v.Declare("a", nil) }, "dyn"},
		{func() { v.Declare("a", cel.MapType(cel.DurationType, cel.ListType(cel.UintType))) }, "map(google.protobuf.Duration, list(uint))"},
		{func() { v.Declare("a", cel.ObjectType("kubernetes.Quantity")) }, "dyn"},
		{func() { v.Declare("a", cel.ListType(cel.OptionalType(cel.IntType))) }, "list(dyn)"},
	} {
		if step.declare(); typeOf() != step.want {
			t.Errorf("got %s, want %s", typeOf(), step.want)
		}
	}
}

// What is stored may use what new expressions may not.
func TestOrigin(t *testing.T) {
	const later = "device.attributes['a'].b.includes('x')"
	c := NewCompiler()
	if r := c.Device(later, New); r.Error == nil {
		t.Error("a new expression uses what is not there yet")
	}
	if r := c.Device(later, Stored); r.Error != nil {
		t.Error(r.Error)
	}
}

func text(rules ...string) *schema.Structural {
	s := &schema.Structural{Generic: schema.Generic{Type: "string"}}
	for _, r := range rules {
		s.XValidations = append(s.XValidations, apiextensionsv1.ValidationRule{Rule: r, MessageExpression: "self"})
	}
	return s
}

// Each expression of a schema is asked where it comes from.
func TestRules(t *testing.T) {
	asked := map[string]bool{}
	s := text("self == 'a'", "self.size() > oldSelf", "self != oldSelf")
	all, err := NewCompiler().Rules(s, model.SchemaDeclType(s, false), func(x string) Origin { asked[x] = true; return New })
	if err != nil || len(all) != 3 {
		t.Fatal(err, all)
	}
	if all[0].Error != nil || all[0].UsesOldSelf || all[0].MaxCost == 0 || all[0].MessageExpressionError != nil {
		t.Errorf("%+v", all[0])
	}
	if all[1].Error == nil {
		t.Error("a number is compared with a text")
	}
	if all[2].Error != nil || !all[2].UsesOldSelf {
		t.Errorf("%+v", all[2])
	}
	for _, x := range []string{"self == 'a'", "self.size() > oldSelf", "self"} {
		if !asked[x] {
			t.Errorf("nobody asked where %s comes from", x)
		}
	}
}

// Environments that nobody uses are given up, and made again.
func TestRelease(t *testing.T) {
	c := NewCompiler()
	held := admit(t, c, Scope{Params: true}, nil)
	admit(t, c, Scope{Authorizer: true}, nil)
	runtime.GC()
	runtime.GC()
	if c.admission[Scope{Params: true}].Value() != held.set {
		t.Error("an environment that is used was given up")
	}
	if c.admission[Scope{Authorizer: true}].Value() != nil {
		t.Error("an environment that nobody uses is kept")
	}
	if _, err := admit(t, c, Scope{Authorizer: true}, nil).Compile("authorizer.path('/').check('get').allowed()", New); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(held)
}

// Many compile side by side, each with variables of its own.
func TestSideBySide(t *testing.T) {
	c := NewCompiler()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			v := NewVariables()
			want := []*Type{cel.IntType, cel.StringType}[i%2]
			v.Declare("v", want)
			e, err := c.Admission(Scope{Params: i%4 < 2}, v)
			if err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				if r, err := e.Compile("[variables.v][0]", New); err != nil || r.Type != want {
					t.Errorf("got %v: %v", r.Type, err)
				}
				if r := c.Device("device.driver == 'a'", Stored); r.Error != nil {
					t.Error(r.Error)
				}
			}
		})
	}
	group.Wait()
}

// What is said of an expression is bounded, whatever it is.
func TestReasonIsBounded(t *testing.T) {
	x := "[" + strings.Repeat("a, ", 5_000) + "a]"
	_, err := admit(t, NewCompiler(), Scope{}, nil).Compile(x, New)
	if err == nil || len(err.Detail) > longestReason+10 || !strings.HasSuffix(err.Detail, " ...") {
		t.Errorf("%d bytes", len(err.Detail))
	}
}

// Nothing that is sent makes any of the entries fail but with a reason, which is
// the same each time.
func FuzzCompile(f *testing.F) {
	for _, x := range []string{
		"", " ", "true", "device.attributes['a'].b == 1", "self.size() > oldSelf.size()", "variables.a + params.b", "authorizer.group('').resource('a').check('get').allowed()",
		"[JSONPatch{op: 'add', value: Object.spec{a: 1}}]", "object.?a[?'b'].orValue([]).all(i, v, v == i)", "object.list.map(x, x > 1, x).exists_one(y, y in [1, 2u, 3.0])",
		"quantity('1Gi').add(1).isGreaterThan(semver('1.0.0'))", "ip('::1').family() == cidr('::/0').prefixLength()", "format.dns1123Label().value().validate(self)",
		"'a'.matches('(a*)*$') ? b'\\xff' : '\\u0000'", "timestamp('2020-01-01T00:00:00Z') - duration('1h')", "has(request.userInfo.extra['a'])", "1 \n+ /", "// only a comment",
		strings.Repeat("(", 300), strings.Repeat("[", 60) + strings.Repeat("]", 60), strings.Repeat("!", 1000) + "true", strings.Repeat("object.all(x, ", 30) + "true" + strings.Repeat(")", 30),
		"[" + strings.Repeat("1, ", 1000) + "'a']", strings.Repeat("[1].all(x, x == 1) && ", 30) + "1", "object" + strings.Repeat(".a", 500), strings.Repeat("\"", 99), "\xff\xfe", "\u2028 == '\U0001F600'",
	} {
		f.Add(x)
	}
	c := NewCompiler()
	v := NewVariables()
	v.Declare("a", cel.IntType)
	admission := admit(f, c, Scope{Params: true, Authorizer: true, Patches: true}, v)
	f.Fuzz(func(t *testing.T, x string) {
		if len(x) > 4<<10 {
			t.Skip("as long as it takes")
		}
		for name, compile := range map[string]func() (bool, *Error){
			"admission": func() (bool, *Error) {
				r, err := admission.Compile(x, New)
				return r.Program != nil, err
			},
			"device": func() (bool, *Error) {
				r := c.Device(x, New)
				return r.Program != nil, r.Error
			},
			"rule": func() (bool, *Error) {
				s := text(x)
				all, err := c.Rules(s, model.SchemaDeclType(s, false), func(string) Origin { return New })
				if err != nil {
					t.Fatal(err)
				}
				// Nothing at all is no rule, and not refused.
				return all[0].Program != nil || strings.TrimSpace(x) == "", all[0].Error
			},
		} {
			ok, err := compile()
			if ok == (err != nil) {
				t.Fatalf("%s: %q: compiled %v, and %v", name, x, ok, err)
			}
			if err != nil && (err.Detail == "" || len(err.Detail) > longestReason+10) {
				t.Fatalf("%s: %q: a reason of %d bytes", name, x, len(err.Detail))
			}
			if _, again := compile(); err != nil && again.Detail != err.Detail && !strings.Contains(err.Detail, "selfType") {
				t.Fatalf("%s: %q: %s, and then %s", name, x, err.Detail, again.Detail)
			}
		}
	})
}
