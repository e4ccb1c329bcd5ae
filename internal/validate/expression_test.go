package validate

import (
	"fmt"
	"strings"
	"testing"

	"clipper/internal/cel"
	"clipper/internal/scheme"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// judged returns what is said of an object that is new, or replaces another.
func judged(t *testing.T, obj, old runtime.Object) string {
	t.Helper()
	table := scheme.New()
	row := table.ByKind(obj.GetObjectKind().GroupVersionKind())
	if row == nil {
		t.Fatalf("no row of %T", obj)
	}
	rules := New(table, cel.NewCompiler())
	var errs field.ErrorList
	if old == nil {
		errs, _ = rules.Create(row, obj)
	} else {
		errs, _ = rules.Update(row, obj, old)
	}
	var lines []string
	for _, e := range errs {
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "\n")
}

func said(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%q is not said:\n%s", p, got)
		}
	}
	if len(parts) == 0 && got != "" {
		t.Errorf("refused: %s", got)
	}
}

func crd(change func(*apiextensionsv1.JSONSchemaProps)) *apiextensionsv1.CustomResourceDefinition {
	s := &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{
		"list": {Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &apiextensionsv1.JSONSchemaProps{Type: "string"}}},
		"spec": {Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"a": {Type: "string"}}},
	}}
	change(s)
	return &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: "bars.example.com", ResourceVersion: "1"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.ClusterScoped,
			Names:    apiextensionsv1.CustomResourceDefinitionNames{Plural: "bars", Singular: "bar", Kind: "Bar", ListKind: "BarList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: s}}},
		},
		Status: apiextensionsv1.CustomResourceDefinitionStatus{StoredVersions: []string{"v1"}},
	}
}

func ruled(rules ...string) func(*apiextensionsv1.JSONSchemaProps) {
	return func(s *apiextensionsv1.JSONSchemaProps) {
		for _, r := range rules {
			s.XValidations = append(s.XValidations, apiextensionsv1.ValidationRule{Rule: r})
		}
	}
}

// A rule is shown whole, its fields by the names that they have in Go.
func TestRefusedRule(t *testing.T) {
	said(t, judged(t, crd(ruled("foo")), nil),
		`spec.validation.openAPIV3Schema.x-kubernetes-validations[0].rule: Invalid value: {"Rule":"foo","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')`)
}

// What upstream would refuse today but has stored, before it did or by another
// version, can go on to change elsewhere as far as it can there.
func TestStoredRules(t *testing.T) {
	costly := ruled("self.list.all(x, self.list.all(y, x == y))")
	const one, all = "estimated rule cost exceeds budget", "estimated rule cost total for entire OpenAPIv3 schema"
	got := judged(t, crd(costly), nil)
	said(t, got, one, all)
	got = judged(t, crd(costly), crd(costly))
	if said(t, got, all); strings.Contains(got, one) {
		t.Errorf("a rule of a schema that has not changed costs too much: %s", got)
	}
	said(t, judged(t, crd(func(s *apiextensionsv1.JSONSchemaProps) { costly(s); s.Description = "x" }), crd(costly)), one, all)

	unpruned := func(value string) func(*apiextensionsv1.JSONSchemaProps) {
		return func(s *apiextensionsv1.JSONSchemaProps) {
			spec := s.Properties["spec"]
			spec.Default = &apiextensionsv1.JSON{Raw: []byte(value)}
			s.Properties["spec"] = spec
		}
	}
	said(t, judged(t, crd(unpruned(`{"z":1}`)), nil), "must not have unknown fields")
	said(t, judged(t, crd(unpruned(`{"z":1}`)), crd(func(*apiextensionsv1.JSONSchemaProps) {})), "must not have unknown fields")
	said(t, judged(t, crd(unpruned(`{"y":1}`)), crd(unpruned(`{"z":1}`))))
	said(t, judged(t, crd(unpruned(`{"a":1}`)), crd(unpruned(`{"z":1}`))), "must be of type string")
}

func policy(change func(*admissionregistrationv1.ValidatingAdmissionPolicySpec)) *admissionregistrationv1.ValidatingAdmissionPolicy {
	match := admissionregistrationv1.Equivalent
	p := &admissionregistrationv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "p", ResourceVersion: "1"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				MatchPolicy: &match, NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{"*"}, Rule: admissionregistrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*"}},
				}}},
			},
			MatchConditions: []admissionregistrationv1.MatchCondition{{Name: "a b", Expression: "foo"}},
			Validations:     []admissionregistrationv1.Validation{{Expression: "true"}},
		},
	}
	change(&p.Spec)
	return p
}

// Conditions of a policy are judged again only if they or its parameters change.
func TestUnchangedConditions(t *testing.T) {
	as := func(*admissionregistrationv1.ValidatingAdmissionPolicySpec) {}
	const name, reference = "must consist of alphanumeric", "undeclared reference to 'foo'"
	said(t, judged(t, policy(as), nil), name, reference)
	said(t, judged(t, policy(as), policy(as)))
	said(t, judged(t, policy(func(s *admissionregistrationv1.ValidatingAdmissionPolicySpec) {
		s.ParamKind = &admissionregistrationv1.ParamKind{APIVersion: "v1", Kind: "Secret"}
	}), policy(as)), name, reference)
	said(t, judged(t, policy(func(s *admissionregistrationv1.ValidatingAdmissionPolicySpec) {
		s.MatchConditions = append(s.MatchConditions, admissionregistrationv1.MatchCondition{Name: "c", Expression: "true"})
	}), policy(as)), name, reference)
	said(t, judged(t, policy(func(s *admissionregistrationv1.ValidatingAdmissionPolicySpec) { s.Validations[0].Expression = "bar" }), policy(as)), "undeclared reference to 'bar'")

	hook := func(expression, other string) *admissionregistrationv1.MutatingWebhookConfiguration {
		url, none, port := "https://example.com/x", admissionregistrationv1.SideEffectClassNone, int32(1)
		c := &admissionregistrationv1.MutatingWebhookConfiguration{
			TypeMeta: metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"}, ObjectMeta: metav1.ObjectMeta{Name: "h", ResourceVersion: "1"},
		}
		for i, x := range []string{expression, other} {
			c.Webhooks = append(c.Webhooks, admissionregistrationv1.MutatingWebhook{
				Name: fmt.Sprintf("h%d.example.com", i), ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url}, AdmissionReviewVersions: []string{"v1"}, SideEffects: &none,
				TimeoutSeconds: &port, MatchConditions: []admissionregistrationv1.MatchCondition{{Name: "c", Expression: x}},
			})
		}
		return c
	}
	said(t, judged(t, hook("foo", "true"), hook("foo", "true")))
	said(t, judged(t, hook("foo", "true"), hook("foo", "false")), "webhooks[0].matchConditions[0].expression", reference)
	shorter := hook("foo", "true")
	shorter.Webhooks = shorter.Webhooks[:1]
	said(t, judged(t, shorter, hook("foo", "true")), reference)
}

func class(expressions ...string) *resourcev1.DeviceClass {
	c := &resourcev1.DeviceClass{TypeMeta: metav1.TypeMeta{APIVersion: "resource.k8s.io/v1", Kind: "DeviceClass"}, ObjectMeta: metav1.ObjectMeta{Name: "c", ResourceVersion: "1"}}
	for _, x := range expressions {
		c.Spec.Selectors = append(c.Spec.Selectors, resourcev1.DeviceSelector{CEL: &resourcev1.CELDeviceSelector{Expression: x}})
	}
	return c
}

// What a later version stored stays as it is, and may not be written anew.
func TestStoredSelectors(t *testing.T) {
	const later = "device.attributes['a'].b.includes('x')"
	said(t, judged(t, class(later), nil), "undeclared reference to 'includes'")
	said(t, judged(t, class(later), class("true")), "undeclared reference to 'includes'")
	said(t, judged(t, class(later, "true"), class(later)))
}

// Rules that cost more than they may are not asked of many defaults.
func TestDefaultsAreBounded(t *testing.T) {
	for n, asked := range map[int]bool{fewDefaults: true, fewDefaults + 1: false} {
		got := judged(t, crd(func(s *apiextensionsv1.JSONSchemaProps) {
			for i := range n {
				list := s.Properties["list"]
				list.XValidations = apiextensionsv1.ValidationRules{{Rule: "self.all(x, self.all(y, self.all(z, x == y || z == 'a'))) && false", Message: " "}}
				list.Default = &apiextensionsv1.JSON{Raw: []byte(`["a", "b"]`)}
				s.Properties[fmt.Sprint("list", i)] = list
			}
		}), nil)
		if said(t, got, "message: Invalid value"); strings.Contains(got, "default") != asked {
			t.Errorf("of %d defaults asked %v: %s", n, !asked, got)
		}
	}
}

// Types are found in a time that grows with the square of an expression, so that
// a few that are long, or many that are less so, would keep a processor busy.
func TestWorkIsBounded(t *testing.T) {
	const refused = "too long to be compiled"
	wide := strings.Repeat("[1].all(x, x == 1) && ", 4000) + "true"
	said(t, judged(t, crd(ruled(wide)), nil), refused)
	said(t, judged(t, policy(func(s *admissionregistrationv1.ValidatingAdmissionPolicySpec) { s.Validations[0].Expression = wide }), nil), "spec.validations[0].expression: Forbidden: "+refused)
	said(t, judged(t, crd(func(s *apiextensionsv1.JSONSchemaProps) {
		ruled("self.spec.a == '1'")(s)
		spec := s.Properties["spec"]
		for i := range 70 {
			ruled(fmt.Sprintf("%s %d == 1", strings.Repeat("!", 2000)+"true == ", i))(&spec)
		}
		s.Properties["spec"] = spec
	}), nil), refused)
	long := strings.Repeat("[1].all(x, x == 1) && ", 400) + "true"
	var many []string
	for range 20 {
		many = append(many, long)
	}
	said(t, judged(t, class(long), nil))
	said(t, judged(t, class(many...), nil), refused)
}
