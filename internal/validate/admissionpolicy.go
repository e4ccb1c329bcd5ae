package validate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"clipper/internal/cel"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/util/jsonpath"
)

var (
	validatingPolicyRules = &rules{ // never changed
		create: rule(func(e *problems, p *admissionregistrationv1.ValidatingAdmissionPolicy) { validatingPolicy(e, p, nil) }),
		update: change(validatingPolicy),
		subresources: subresources{"status": same(func(e *problems, p *admissionregistrationv1.ValidatingAdmissionPolicy) {
			if t := p.Status.TypeChecking; t != nil {
				expressionWarnings(e, t.ExpressionWarnings, statusPath.Child("typeChecking", "expressionWarnings"))
			}
			e.all(metavalidation.ValidateConditions(p.Status.Conditions, statusPath.Child("conditions")))
		})},
	}
	mutatingPolicyRules = &rules{ // never changed
		create: rule(func(e *problems, p *admissionregistrationv1.MutatingAdmissionPolicy) { mutatingPolicy(e, p, nil) }),
		update: change(mutatingPolicy),
	}
	validatingBindingRules = &rules{ // never changed
		create: rule(validatingBinding),
		update: same(validatingBinding),
	}
	mutatingBindingRules = &rules{ // never changed
		create: rule(mutatingBinding),
		update: same(mutatingBinding),
	}
)

// The longest expression of an audit annotation's value.
const longestAnnotation = 5 << 10

// validatingPolicy judges a policy that is new or replaces old.
func validatingPolicy(e *problems, p, old *admissionregistrationv1.ValidatingAdmissionPolicy) {
	s, at := &p.Spec, field.NewPath("spec")
	if old != nil {
		e.before().add(old.Spec.MatchConditions, old.Spec.Variables)
		for _, v := range old.Spec.Validations {
			e.before()[v.Expression], e.before()[v.MessageExpression] = true, true
		}
		for _, a := range old.Spec.AuditAnnotations {
			e.before()[a.ValueExpression] = true
		}
	}
	paramKind(e, s.ParamKind, at.Child("paramKind"))
	constraints(e, s.MatchConstraints, at.Child("matchConstraints"))
	if old == nil || !sameMatch(s.MatchConditions, old.Spec.MatchConditions, s.ParamKind, old.Spec.ParamKind) {
		matchConditions(newPolicyExpressions(e, s.ParamKind, false), s.MatchConditions, at.Child("matchConditions"))
	}
	whenFailing(e, s.FailurePolicy, at)
	x := newPolicyExpressions(e, s.ParamKind, len(s.Variables) > 0)
	variables(x, s.Variables, at.Child("variables"))
	if len(s.Validations) == 0 && len(s.AuditAnnotations) == 0 {
		const text = "validations or auditAnnotations must contain at least one item"
		e.required(at.Child("validations"), text)
		e.required(at.Child("auditAnnotations"), text)
		return
	}
	for i := range s.Validations {
		judgement(x, &s.Validations[i], at.Child("validations").Index(i))
	}
	keys := map[string]bool{}
	for i, a := range s.AuditAnnotations {
		at := at.Child("auditAnnotations").Index(i)
		if key := p.Name + "/" + a.Key; p.Name == "" {
			e.invalid(at.Child("key"), a.Key, "requires metadata.name be non-empty")
		} else {
			e.texts(at.Child("key"), key, validation.IsQualifiedName(key))
		}
		switch value := at.Child("valueExpression"); {
		case strings.TrimSpace(a.ValueExpression) == "":
			e.required(value, "valueExpression is not specified")
		case len(strings.TrimSpace(a.ValueExpression)) > longestAnnotation:
			e.required(value, fmt.Sprintf("must not exceed %d bytes in length", longestAnnotation))
		default:
			x.compile(value, a.ValueExpression, cel.Scope{Authorizer: true}, cel.StringType, cel.NullType)
		}
		if keys[a.Key] {
			e.add(field.Duplicate(at.Child("key"), a.Key))
		}
		keys[a.Key] = true
	}
}

// expressionWarnings judges what was found of a policy's types.
func expressionWarnings(e *problems, all []admissionregistrationv1.ExpressionWarning, at *field.Path) {
	for i, w := range all {
		at := at.Index(i)
		e.given(at, "warning", w.Warning)
		if strings.TrimSpace(w.FieldRef) == "" {
			e.required(at.Child("fieldRef"), "")
		} else if err := jsonpath.New("").Parse("{" + w.FieldRef + "}"); err != nil {
			e.invalid(at.Child("fieldRef"), w.FieldRef, "invalid JSONPath: "+err.Error())
		}
	}
}

// sameMatch tells whether the conditions of a policy are as they were, and mean
// the same: then they are not judged again.
func sameMatch(conditions, old []admissionregistrationv1.MatchCondition, kind, oldKind *admissionregistrationv1.ParamKind) bool {
	return slices.Equal(conditions, old) && (kind == nil) == (oldKind == nil) && (kind == nil || *kind == *oldKind)
}

func judgement(x *policyExpressions, v *admissionregistrationv1.Validation, at *field.Path) {
	e, message := x.e, strings.TrimSpace(v.Message)
	if expression := strings.TrimSpace(v.Expression); expression == "" {
		e.required(at.Child("expression"), "expression is not specified")
	} else {
		x.compile(at.Child("expression"), v.Expression, cel.Scope{Authorizer: true}, cel.BoolType)
		if strings.Contains(expression, "\n") && message == "" && v.MessageExpression == "" {
			e.required(at.Child("message"), "message must be specified if expression contains line breaks")
		}
	}
	if m := v.MessageExpression; m != "" && strings.TrimSpace(m) == "" {
		e.invalid(at.Child("messageExpression"), m, "must be non-empty if specified")
	} else if m != "" {
		x.compile(at.Child("messageExpression"), m, cel.Scope{}, cel.StringType)
	}
	if strings.Contains(message, "\n") {
		e.invalid(at.Child("message"), v.Message, "must not contain line breaks")
	}
	if v.Message != "" && message == "" {
		e.invalid(at.Child("message"), v.Message, "message must be non-empty if specified")
	}
	optionalOneOf(e, at, "reason", v.Reason, metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge)
}

// mutatingPolicy judges a policy that is new or replaces old.
func mutatingPolicy(e *problems, p, old *admissionregistrationv1.MutatingAdmissionPolicy) {
	s, at := &p.Spec, field.NewPath("spec")
	if old != nil {
		e.before().add(old.Spec.MatchConditions, old.Spec.Variables)
		for _, m := range old.Spec.Mutations {
			if m.ApplyConfiguration != nil {
				e.before()[m.ApplyConfiguration.Expression] = true
			}
			if m.JSONPatch != nil {
				e.before()[m.JSONPatch.Expression] = true
			}
		}
	}
	paramKind(e, s.ParamKind, at.Child("paramKind"))
	constraints(e, s.MatchConstraints, at.Child("matchConstraints"))
	notDeleted(e, s.MatchConstraints, at.Child("matchConstraints"))
	if old == nil || !sameMatch(s.MatchConditions, old.Spec.MatchConditions, s.ParamKind, old.Spec.ParamKind) {
		matchConditions(newPolicyExpressions(e, s.ParamKind, false), s.MatchConditions, at.Child("matchConditions"))
	}
	whenFailing(e, s.FailurePolicy, at)
	x := newPolicyExpressions(e, s.ParamKind, true)
	variables(x, s.Variables, at.Child("variables"))
	if len(s.Mutations) == 0 {
		e.required(at.Child("mutations"), "mutations must contain at least one item")
	}
	for i := range s.Mutations {
		mutation(x, &s.Mutations[i], at.Child("mutations").Index(i))
	}
	givenOneOf(e, at, "reinvocationPolicy", s.ReinvocationPolicy, admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)
}

func mutation(x *policyExpressions, m *admissionregistrationv1.Mutation, at *field.Path) {
	e, gives := x.e, cel.ObjectType
	apply, patch := (*string)(nil), (*string)(nil)
	if m.ApplyConfiguration != nil {
		apply = &m.ApplyConfiguration.Expression
	}
	if m.JSONPatch != nil {
		patch = &m.JSONPatch.Expression
	}
	own, other, ownName, otherName := apply, patch, "applyConfiguration", "jsonPatch"
	switch m.PatchType {
	case admissionregistrationv1.PatchTypeApplyConfiguration:
	case admissionregistrationv1.PatchTypeJSONPatch:
		own, other, ownName, otherName, gives = patch, apply, otherName, ownName, cel.PatchesType
	default:
		givenOneOf(e, at, "patchType", m.PatchType, admissionregistrationv1.PatchTypeApplyConfiguration, admissionregistrationv1.PatchTypeJSONPatch)
		return
	}
	if own == nil {
		e.required(at.Child(ownName), "must be specified when patchType is "+string(m.PatchType))
	} else if strings.TrimSpace(*own) == "" {
		e.required(at.Child(ownName, "expression"), "")
	} else {
		x.compile(at.Child(ownName, "expression"), *own, cel.Scope{Authorizer: true, Patches: true}, gives)
	}
	if other != nil {
		e.invalid(at.Child(otherName), "{"+otherName+"}", "must not be specified when patchType is "+string(m.PatchType))
	}
}

func whenFailing(e *problems, p *admissionregistrationv1.FailurePolicyType, at *field.Path) {
	optionalOneOf(e, at, "failurePolicy", p, admissionregistrationv1.Fail, admissionregistrationv1.Ignore)
}

func paramKind(e *problems, k *admissionregistrationv1.ParamKind, at *field.Path) {
	if k == nil {
		return
	}
	if k.APIVersion == "" {
		e.required(at.Child("apiVersion"), "")
	} else if gv, err := schema.ParseGroupVersion(k.APIVersion); err != nil {
		e.invalid(at.Child("apiVersion"), k.APIVersion, err.Error())
	} else {
		if gv.Group != "" {
			e.check(at, "apiVersion", gv.Group, dnsSubdomain)
		}
		for _, text := range validation.IsDNS1035Label(gv.Version) {
			e.invalid(at.Child("apiVersion"), gv.Version, text)
		}
	}
	e.checked(at, "kind", k.Kind, mixedLabel)
}

// celIdentifier is what CEL takes for a name, if it is none of its words.
var celIdentifier = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]*$`) })

// celWords mean something in CEL, or may come to.
var celWords = []string{ // never changed
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "namespace", "null", "package", "return",
	"true", "var", "void", "while",
}

// variables judges a policy's own variables, and declares each for what comes
// after it. Of two with one name, the later counts.
func variables(x *policyExpressions, all []admissionregistrationv1.Variable, at *field.Path) {
	for i, v := range all {
		at := at.Index(i)
		switch {
		case v.Name == "":
			x.e.required(at.Child("name"), "name is not specified")
		case !celIdentifier().MatchString(v.Name) || slices.Contains(celWords, v.Name):
			x.e.invalid(at.Child("name"), v.Name, "must be a valid CEL identifier")
		}
		if strings.TrimSpace(v.Expression) == "" {
			x.e.required(at.Child("expression"), "expression is not specified")
			continue
		}
		x.variables.Declare(v.Name, x.compile(at.Child("expression"), v.Expression, cel.Scope{Authorizer: true}))
	}
}

// constraints are what a policy must say it matches.
func constraints(e *problems, m *admissionregistrationv1.MatchResources, at *field.Path) {
	if m == nil {
		e.required(at, "")
		return
	}
	if len(m.ResourceRules) == 0 {
		e.required(at.Child("resourceRules"), "")
	}
	matchResources(e, m, at)
}

func matchResources(e *problems, m *admissionregistrationv1.MatchResources, at *field.Path) {
	if m == nil {
		return
	}
	if m.MatchPolicy == nil {
		e.required(at.Child("matchPolicy"), "")
	} else {
		oneOf(e, at, "matchPolicy", *m.MatchPolicy, admissionregistrationv1.Equivalent, admissionregistrationv1.Exact)
	}
	for _, s := range []struct {
		name     string
		selector *metav1.LabelSelector
	}{{"namespaceSelector", m.NamespaceSelector}, {"objectSelector", m.ObjectSelector}} {
		if s.selector == nil {
			e.required(at.Child(s.name), "")
			continue
		}
		e.all(metavalidation.ValidateLabelSelector(s.selector, metavalidation.LabelSelectorValidationOptions{}, at.Child(s.name)))
	}
	for name, list := range map[string][]admissionregistrationv1.NamedRuleWithOperations{
		"resourceRules": m.ResourceRules, "excludeResourceRules": m.ExcludeResourceRules,
	} {
		for i := range list {
			at := at.Child(name).Index(i)
			matchRule(e, &list[i].RuleWithOperations, at)
			names := list[i].ResourceNames
			for j, n := range names {
				if n != "" {
					e.texts(at.Child("resourceNames").Index(j), n, segmentTexts(n))
				}
				if slices.Contains(names[:j], n) {
					e.add(field.Duplicate(at.Child("resourceNames").Index(j), n))
				}
			}
		}
	}
}

// notDeleted refuses operations after which there is nothing left to change.
func notDeleted(e *problems, m *admissionregistrationv1.MatchResources, at *field.Path) {
	if m == nil {
		return
	}
	supported := []admissionregistrationv1.OperationType{"*", "CONNECT", "CREATE", "UPDATE"}
	for i := range m.ResourceRules {
		for _, o := range m.ResourceRules[i].Operations {
			if !slices.Contains(supported, o) {
				e.add(field.NotSupported(at.Child("resourceRules", "operations"), o, supported))
			}
		}
	}
}

func validatingBinding(e *problems, b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
	s, at := &b.Spec, field.NewPath("spec")
	e.checked(at, "policyName", s.PolicyName, dnsSubdomain)
	paramRef(e, s.ParamRef, at.Child("paramRef"))
	matchResources(e, s.MatchResources, at.Child("matchResources"))
	actions := at.Child("validationActions")
	if len(s.ValidationActions) == 0 {
		e.required(actions, "at least one validation action is required")
	}
	supported := []admissionregistrationv1.ValidationAction{admissionregistrationv1.Audit, admissionregistrationv1.Deny, admissionregistrationv1.Warn}
	for i, a := range s.ValidationActions {
		if !slices.Contains(supported, a) {
			e.add(field.NotSupported(actions.Index(i), a, supported))
		}
		if slices.Contains(s.ValidationActions[:i], a) {
			e.add(field.Duplicate(actions.Index(i), a))
		}
	}
	if slices.Contains(s.ValidationActions, admissionregistrationv1.Deny) && slices.Contains(s.ValidationActions, admissionregistrationv1.Warn) {
		e.invalid(actions, s.ValidationActions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)")
	}
}

func mutatingBinding(e *problems, b *admissionregistrationv1.MutatingAdmissionPolicyBinding) {
	s, at := &b.Spec, field.NewPath("spec")
	e.checked(at, "policyName", s.PolicyName, dnsSubdomain)
	paramRef(e, s.ParamRef, at.Child("paramRef"))
	matchResources(e, s.MatchResources, at.Child("matchResources"))
	notDeleted(e, s.MatchResources, at.Child("matchResources"))
}

func paramRef(e *problems, r *admissionregistrationv1.ParamRef, at *field.Path) {
	if r == nil {
		return
	}
	switch {
	case r.Name != "" && r.Selector != nil:
		const text = "name and selector are mutually exclusive"
		e.forbidden(at.Child("name"), text)
		e.forbidden(at.Child("selector"), text)
	case r.Name == "" && r.Selector == nil:
		e.required(at, "one of name or selector must be specified")
	case r.Name != "":
		e.texts(at.Child("name"), r.Name, segmentTexts(r.Name))
	}
	if r.Selector != nil {
		selector(e, r.Selector, at.Child("selector"))
	}
	if r.ParameterNotFoundAction == nil || *r.ParameterNotFoundAction == "" {
		e.required(at.Child("parameterNotFoundAction"), "")
		return
	}
	// Upstream lists them in this order.
	if a := *r.ParameterNotFoundAction; a != admissionregistrationv1.DenyAction && a != admissionregistrationv1.AllowAction {
		e.add(&field.Error{
			Type: field.ErrorTypeNotSupported, Field: at.Child("parameterNotFoundAction").String(), BadValue: a,
			Detail: fmt.Sprintf("supported values: %q, %q", admissionregistrationv1.DenyAction, admissionregistrationv1.AllowAction),
		})
	}
}
