package validate

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"clipper/internal/cel"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a webhook may be given, in seconds, and how many conditions it has.
const (
	longestWebhook = 30
	mostConditions = 64
)

var (
	validatingWebhookRules = &rules{ // never changed
		create: rule(func(e *problems, c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			validatingWebhooks(e, c, nil)
		}),
		update: change(func(e *problems, c, old *admissionregistrationv1.ValidatingWebhookConfiguration) {
			validatingWebhooks(e, c, validatingHooks(old))
		}),
	}
	mutatingWebhookRules = &rules{ // never changed
		create: rule(func(e *problems, c *admissionregistrationv1.MutatingWebhookConfiguration) {
			mutatingWebhooks(e, c, nil)
		}),
		update: change(func(e *problems, c, old *admissionregistrationv1.MutatingWebhookConfiguration) {
			mutatingWebhooks(e, c, mutatingHooks(old))
		}),
	}
)

// hook is what the two kinds of webhooks have alike.
type hook struct {
	name                 string
	client               *admissionregistrationv1.WebhookClientConfig
	versions             []string
	effects              *admissionregistrationv1.SideEffectClass
	failure              *admissionregistrationv1.FailurePolicyType
	match                *admissionregistrationv1.MatchPolicyType
	timeout              *int32
	namespaces, selected *metav1.LabelSelector
	rules                []admissionregistrationv1.RuleWithOperations
	conditions           []admissionregistrationv1.MatchCondition
}

func validatingHooks(c *admissionregistrationv1.ValidatingWebhookConfiguration) (all []hook) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		all = append(all, hook{
			w.Name, &w.ClientConfig, w.AdmissionReviewVersions, w.SideEffects, w.FailurePolicy, w.MatchPolicy, w.TimeoutSeconds,
			w.NamespaceSelector, w.ObjectSelector, w.Rules, w.MatchConditions,
		})
	}
	return all
}

func mutatingHooks(c *admissionregistrationv1.MutatingWebhookConfiguration) (all []hook) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		all = append(all, hook{
			w.Name, &w.ClientConfig, w.AdmissionReviewVersions, w.SideEffects, w.FailurePolicy, w.MatchPolicy, w.TimeoutSeconds,
			w.NamespaceSelector, w.ObjectSelector, w.Rules, w.MatchConditions,
		})
	}
	return all
}

func validatingWebhooks(e *problems, c *admissionregistrationv1.ValidatingWebhookConfiguration, old []hook) {
	hooks(e, validatingHooks(c), old)
}

func mutatingWebhooks(e *problems, c *admissionregistrationv1.MutatingWebhookConfiguration, old []hook) {
	hooks(e, mutatingHooks(c), old)
	for i, w := range c.Webhooks {
		optionalOneOf(e, field.NewPath("webhooks").Index(i), "reinvocationPolicy", w.ReinvocationPolicy, admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)
	}
}

// hooks judges those of one configuration. If none of their conditions has
// changed, these are not judged again.
func hooks(e *problems, all, old []hook) {
	for _, w := range old {
		e.before().add(w.conditions, nil)
	}
	asBefore := slices.EqualFunc(all, old, func(a, b hook) bool { return slices.Equal(a.conditions, b.conditions) })
	names, x := map[string]bool{}, newPolicyExpressions(e, nil, false)
	for i, w := range all {
		at := field.NewPath("webhooks").Index(i)
		w.check(e, names, at)
		if !asBefore {
			matchConditions(x, w.conditions, at.Child("matchConditions"))
		}
	}
}

func (w hook) check(e *problems, names map[string]bool, at *field.Path) {
	e.all(validation.IsFullyQualifiedName(at.Child("name"), w.name))
	if names[w.name] && w.name != "" {
		e.add(field.Duplicate(at.Child("name"), w.name))
	}
	names[w.name] = true
	versions := at.Child("admissionReviewVersions")
	if len(w.versions) == 0 {
		e.required(versions, "must specify one of v1, v1beta1")
	} else {
		reviewVersions(e, w.versions, versions)
	}
	for i := range w.rules {
		matchRule(e, &w.rules[i], at.Child("rules").Index(i))
	}
	optionalOneOf(e, at, "failurePolicy", w.failure, admissionregistrationv1.Fail, admissionregistrationv1.Ignore)
	optionalOneOf(e, at, "matchPolicy", w.match, admissionregistrationv1.Equivalent, admissionregistrationv1.Exact)
	if w.effects == nil {
		e.required(at.Child("sideEffects"), "must specify one of None, NoneOnDryRun")
	} else {
		oneOf(e, at, "sideEffects", *w.effects, admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.SideEffectClassNoneOnDryRun)
	}
	if t := w.timeout; t != nil && (*t < 1 || *t > longestWebhook) {
		e.invalid(at.Child("timeoutSeconds"), *t, fmt.Sprintf("the timeout value must be between 1 and %d seconds", longestWebhook))
	}
	selectors(e, w.namespaces, w.selected, at)
	var s *serviceReference
	if r := w.client.Service; r != nil {
		s = &serviceReference{r.Namespace, r.Name, r.Path, r.Port}
	}
	clientConfig(e, w.client.URL, s, at.Child("clientConfig"))
}

func selectors(e *problems, namespaces, objects *metav1.LabelSelector, at *field.Path) {
	for name, s := range map[string]*metav1.LabelSelector{"namespaceSelector": namespaces, "objectSelector": objects} {
		if s != nil {
			e.all(metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at.Child(name)))
		}
	}
}

func reviewVersions(e *problems, versions []string, at *field.Path) {
	known, seen := false, map[string]bool{}
	for i, v := range versions {
		if seen[v] {
			e.invalid(at.Index(i), v, "duplicate version")
			continue
		}
		seen[v] = true
		e.texts(at.Index(i), v, validation.IsDNS1035Label(v))
		known = known || v == "v1" || v == "v1beta1"
	}
	if !known {
		e.invalid(at, versions, "must include at least one of v1, v1beta1")
	}
}

// serviceReference is the Service of a webhook.
type serviceReference struct {
	namespace, name string
	path            *string
	port            *int32
}

func clientConfig(e *problems, u *string, s *serviceReference, at *field.Path) {
	switch {
	case (u == nil) == (s == nil):
		e.required(at, "exactly one of url or service is required")
	case u != nil:
		webhookURL(e, *u, at.Child("url"))
	default:
		webhookService(e, s, at.Child("service"))
	}
}

func webhookURL(e *problems, text string, at *field.Path) {
	const form = "; desired format: https://host[/path]"
	u, err := url.Parse(text)
	if err != nil {
		e.required(at, "url must be a valid URL: "+err.Error()+form)
		return
	}
	if u.Scheme != "https" {
		e.invalid(at, u.Scheme, "'https' is the only allowed URL scheme"+form)
	}
	if u.Host == "" {
		e.invalid(at, u.Host, "host must be specified"+form)
	}
	if u.User != nil {
		e.invalid(at, u.User.String(), "user information is not permitted in the URL")
	}
	if u.Fragment != "" {
		e.invalid(at, u.Fragment, "fragments are not permitted in the URL")
	}
	if u.RawQuery != "" {
		e.invalid(at, u.RawQuery, "query parameters are not permitted in the URL")
	}
}

func webhookService(e *problems, s *serviceReference, at *field.Path) {
	// Upstream names each in the other's place.
	if s.name == "" {
		e.required(at.Child("namespace"), "")
	}
	if s.namespace == "" {
		e.required(at.Child("name"), "")
	}
	if s.port != nil {
		for _, text := range validation.IsValidPortNum(int(*s.port)) {
			e.invalid(at.Child("port"), *s.port, "port is not valid: "+text)
		}
	}
	if s.path == nil || *s.path == "" || *s.path == "/" {
		return
	}
	p := *s.path
	if !strings.HasPrefix(p, "/") {
		e.invalid(at.Child("path"), p, "must start with a '/'")
	}
	parts := strings.Split(strings.Trim(p, "/"), "/")
	if !strings.HasPrefix(p, "/") {
		parts = strings.Split(p[min(1, len(p)):], "/")
	}
	for i, part := range parts {
		if part == "" {
			e.invalid(at.Child("path"), p, fmt.Sprintf("segment[%d] may not be empty", i))
			continue
		}
		for _, text := range validation.IsDNS1123Subdomain(part) {
			e.invalid(at.Child("path"), p, fmt.Sprintf("segment[%d]: %v", i, text))
		}
	}
}

// matchRule checks a rule of what is matched.
func matchRule(e *problems, r *admissionregistrationv1.RuleWithOperations, at *field.Path) {
	operations := at.Child("operations")
	if len(r.Operations) == 0 {
		e.required(operations, "")
	}
	if len(r.Operations) > 1 && slices.Contains(r.Operations, admissionregistrationv1.OperationAll) {
		e.invalid(operations, r.Operations, "if '*' is present, must not specify other operations")
	}
	for i, o := range r.Operations {
		supported := []admissionregistrationv1.OperationType{"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}
		if !slices.Contains(supported, o) {
			e.add(field.NotSupported(operations.Index(i), o, supported))
		}
	}
	alone(e, r.APIGroups, at.Child("apiGroups"), "", "API groups")
	alone(e, r.APIVersions, at.Child("apiVersions"), "", "API versions")
	for i, v := range r.APIVersions {
		if v == "" {
			e.required(at.Child("apiVersions").Index(i), "")
		}
	}
	matchedResources(e, r.Resources, at.Child("resources"))
	optionalOneOf(e, at, "scope", r.Scope, admissionregistrationv1.AllScopes, admissionregistrationv1.ClusterScope, admissionregistrationv1.NamespacedScope)
}

func matchedResources(e *problems, resources []string, at *field.Path) {
	if len(resources) == 0 {
		e.required(at, "")
	}
	subs, whole := map[string]bool{}, map[string]bool{}
	all, others := false, false // in this order: upstream minds only what follows a "*"
	for i, r := range resources {
		if r == "" {
			e.required(at.Index(i), "")
			continue
		}
		if r == "*/*" {
			whole[r] = true
		}
		name, sub, isSub := strings.Cut(r, "/")
		if !isSub {
			others = others || all && r != "*"
			all = all || r == "*"
			continue
		}
		switch {
		case whole[name+"/*"] && r != "*/*" && sub != "*":
			e.invalid(at.Index(i), r, fmt.Sprintf("if '%s/*' is present, must not specify %s", name, r))
		case subs[sub] && name != "*":
			e.invalid(at.Index(i), r, fmt.Sprintf("if '*/%s' is present, must not specify %s", sub, r))
		}
		if sub == "*" {
			whole[r] = true
		}
		if name == "*" {
			subs[sub] = true
		}
	}
	if len(resources) > 1 && slices.Contains(resources, "*/*") {
		e.invalid(at, resources, "if '*/*' is present, must not specify other resources")
	}
	if others {
		e.invalid(at, resources, "if '*' is present, must not specify other resources without subresources")
	}
}

func matchConditions(x *policyExpressions, all []admissionregistrationv1.MatchCondition, at *field.Path) {
	e := x.e
	if len(all) > mostConditions {
		e.add(field.TooMany(at, len(all), mostConditions))
	}
	names := map[string]bool{}
	for i, c := range all {
		at := at.Index(i)
		if strings.TrimSpace(c.Expression) == "" {
			e.required(at.Child("expression"), "")
		} else {
			x.compile(at.Child("expression"), c.Expression, cel.Scope{Authorizer: true}, cel.BoolType)
		}
		if c.Name == "" {
			e.required(at.Child("name"), "")
			continue
		}
		e.check(at, "name", c.Name, validation.IsQualifiedName)
		if names[c.Name] {
			e.add(field.Duplicate(at.Child("name"), c.Name))
		}
		names[c.Name] = true
	}
}
