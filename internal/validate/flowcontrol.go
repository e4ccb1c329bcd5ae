package validate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a priority level and its queues may be.
const (
	lowestPrecedence = 10000
	mostQueues       = 10 * 1000 * 1000
	mostEntropy      = 60 // bits that a flow's hand of queues is dealt from
)

var (
	flowSchemaRules = &rules{ // never changed
		create: rule(flowSchema),
		update: same(flowSchema),
		subresources: subresources{"status": same(func(e *problems, s *flowcontrolv1.FlowSchema) {
			types := make([]string, len(s.Status.Conditions))
			for i, c := range s.Status.Conditions {
				types[i] = string(c.Type)
			}
			conditionTypes(e, types)
		})},
	}
	priorityLevelRules = &rules{ // never changed
		create: rule(priorityLevel),
		update: same(priorityLevel),
		subresources: subresources{"status": same(func(e *problems, c *flowcontrolv1.PriorityLevelConfiguration) {
			types := make([]string, len(c.Status.Conditions))
			for i, c := range c.Status.Conditions {
				types[i] = string(c.Type)
			}
			conditionTypes(e, types)
		})},
	}
)

func conditionTypes(e *problems, types []string) {
	at := field.NewPath("status", "conditions")
	for i, t := range types {
		if t == "" {
			e.required(at.Index(i).Child("type"), "")
		}
		if slices.Contains(types[:i], t) {
			e.add(field.Duplicate(at.Index(i).Child("type"), t))
		}
	}
}

func flowSchema(e *problems, f *flowcontrolv1.FlowSchema) {
	s, at := &f.Spec, field.NewPath("spec")
	switch p := s.MatchingPrecedence; {
	case p <= 0:
		e.invalid(at.Child("matchingPrecedence"), p, "must be a positive value")
	case p > lowestPrecedence:
		e.invalid(at.Child("matchingPrecedence"), p, fmt.Sprintf("must not be greater than %v", lowestPrecedence))
	case p == 1 && f.Name != flowcontrolv1.FlowSchemaNameExempt:
		e.invalid(at.Child("matchingPrecedence"), p, "only the schema named 'exempt' may have matchingPrecedence 1")
	}
	if m := s.DistinguisherMethod; m != nil {
		methods := []flowcontrolv1.FlowDistinguisherMethodType{flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType}
		if !slices.Contains(methods, m.Type) {
			e.add(field.NotSupported(at.Child("distinguisherMethod", "type"), m, methods))
		}
	}
	if level := at.Child("priorityLevelConfiguration"); s.PriorityLevelConfiguration.Name == "" {
		e.required(level.Child("name"), "must reference a priority level")
	} else {
		e.check(level, "name", s.PriorityLevelConfiguration.Name, dnsSubdomain)
	}
	for i := range s.Rules {
		flowRule(e, &s.Rules[i], at.Child("rules").Index(i))
	}
}

func flowRule(e *problems, r *flowcontrolv1.PolicyRulesWithSubjects, at *field.Path) {
	if len(r.Subjects) == 0 {
		e.required(at.Child("subjects"), "subjects must contain at least one value")
	}
	for i := range r.Subjects {
		flowSubject(e, &r.Subjects[i], at.Child("subjects").Index(i))
	}
	if len(r.ResourceRules) == 0 && len(r.NonResourceRules) == 0 {
		e.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty")
	}
	for i := range r.ResourceRules {
		flowResources(e, &r.ResourceRules[i], at.Child("resourceRules").Index(i))
	}
	for i := range r.NonResourceRules {
		n, at := &r.NonResourceRules[i], at.Child("nonResourceRules").Index(i)
		flowVerbsOf(e, n.Verbs, at.Child("verbs"))
		urls := at.Child("nonResourceURLs")
		alone(e, n.NonResourceURLs, urls, "nonResourceURLs must contain at least one value", "non-resource URLs")
		for i, u := range n.NonResourceURLs {
			if text := urlPattern(u); text != "" {
				e.invalid(urls.Index(i), u, text)
			}
		}
	}
}

// alone checks a list that is not empty, in which a * stands alone.
func alone(e *problems, list []string, at *field.Path, missing, others string) {
	switch {
	case len(list) == 0:
		e.required(at, missing)
	case len(list) > 1 && slices.Contains(list, "*"):
		e.invalid(at, list, "if '*' is present, must not specify other "+others)
	}
}

// urlPattern returns what is wrong with a pattern of paths that are no resources'.
func urlPattern(u string) string {
	switch {
	case u == "*":
		return ""
	case u == "":
		return "must not be empty"
	case !strings.HasPrefix(u, "/"):
		return "must start with slash"
	case strings.Contains(u, " "):
		return "must not contain white-space"
	case strings.Contains(u, "//"):
		return "must not contain double slash"
	case strings.Contains(strings.TrimSuffix(u, "/*"), "*"):
		return "wildcard can only do suffix matching"
	}
	return ""
}

func flowSubject(e *problems, s *flowcontrolv1.Subject, at *field.Path) {
	oneOf(e, at, "kind", s.Kind, flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser)
	if !slices.Contains([]flowcontrolv1.SubjectKind{flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser}, s.Kind) {
		return
	}
	for _, part := range []struct {
		kind flowcontrolv1.SubjectKind
		name string
		set  bool
	}{
		{flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", s.ServiceAccount != nil},
		{flowcontrolv1.SubjectKindUser, "user", s.User != nil},
		{flowcontrolv1.SubjectKindGroup, "group", s.Group != nil},
	} {
		switch {
		case part.kind == s.Kind && !part.set:
			e.required(at.Child(part.name), fmt.Sprintf("%s is required when subject kind is '%s'", part.name, part.kind))
		case part.kind != s.Kind && part.set:
			e.forbidden(at.Child(part.name), fmt.Sprintf("%s is forbidden when subject kind is not '%s'", part.name, part.kind))
		}
	}
	switch {
	case s.Kind == flowcontrolv1.SubjectKindUser && s.User != nil:
		e.given(at.Child("user"), "name", s.User.Name)
	case s.Kind == flowcontrolv1.SubjectKindGroup && s.Group != nil:
		e.given(at.Child("group"), "name", s.Group.Name)
	case s.Kind == flowcontrolv1.SubjectKindServiceAccount && s.ServiceAccount != nil:
		at := at.Child("serviceAccount")
		switch a := s.ServiceAccount; {
		case a.Name == "":
			e.required(at.Child("name"), "")
		case a.Name != "*":
			e.check(at, "name", a.Name, dnsSubdomain)
		}
		if ns := s.ServiceAccount.Namespace; ns == "" {
			e.required(at.Child("namespace"), "must specify namespace for service account")
		} else {
			e.check(at, "namespace", ns, dnsLabel)
		}
	}
}

var flowVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"} // never changed

func flowVerbsOf(e *problems, verbs []string, at *field.Path) {
	alone(e, verbs, at, "verbs must contain at least one value", "verbs")
	if slices.Contains(verbs, "*") {
		return
	}
	if slices.ContainsFunc(verbs, func(v string) bool { return !slices.Contains(flowVerbs, v) }) {
		e.add(field.NotSupported(at, verbs, flowVerbs))
	}
}

func flowResources(e *problems, r *flowcontrolv1.ResourcePolicyRule, at *field.Path) {
	flowVerbsOf(e, r.Verbs, at.Child("verbs"))
	alone(e, r.APIGroups, at.Child("apiGroups"), "resource rules must supply at least one api group", "api groups")
	alone(e, r.Resources, at.Child("resources"), "resource rules must supply at least one resource", "resources")
	namespaces := at.Child("namespaces")
	switch {
	case len(r.Namespaces) == 0 && !r.ClusterScope:
		e.required(namespaces, "resource rules that are not cluster scoped must supply at least one namespace")
	case slices.Contains(r.Namespaces, "*"):
		if len(r.Namespaces) > 1 {
			e.invalid(namespaces, r.Namespaces, "if '*' is present, must not specify other namespaces")
		}
	default:
		for i, ns := range r.Namespaces {
			for _, text := range dnsLabel(ns) {
				e.invalid(namespaces.Index(i), ns, "each member of this list must be '*' or a DNS-1123 label; "+text)
			}
		}
	}
}

func priorityLevel(e *problems, c *flowcontrolv1.PriorityLevelConfiguration) {
	s, at := &c.Spec, field.NewPath("spec")
	exempt := c.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt
	if (s.Type == flowcontrolv1.PriorityLevelEnablementExempt) != exempt && s.Type != "" &&
		(s.Type == flowcontrolv1.PriorityLevelEnablementExempt || exempt) {
		e.invalid(at.Child("type"), s.Type, "must be 'Exempt' if and only if `name` is 'exempt'")
	}
	switch s.Type {
	case flowcontrolv1.PriorityLevelEnablementExempt:
		if s.Limited != nil {
			e.forbidden(at.Child("limited"), "must be nil if the type is not Limited")
		}
		if x := s.Exempt; x != nil {
			shares(e, x.NominalConcurrencyShares, x.LendablePercent, at.Child("exempt"))
		}
	case flowcontrolv1.PriorityLevelEnablementLimited:
		if s.Exempt != nil {
			e.forbidden(at.Child("exempt"), "must be nil if the type is Limited")
		}
		if s.Limited == nil {
			e.required(at.Child("limited"), "must not be empty when type is Limited")
			return
		}
		limited(e, s.Limited, at.Child("limited"))
	default:
		givenOneOf(e, at, "type", s.Type, flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited)
	}
}

func shares(e *problems, nominal, lendable *int32, at *field.Path) {
	if nominal != nil && *nominal < 0 {
		e.invalid(at.Child("nominalConcurrencyShares"), *nominal, "must be a non-negative integer")
	}
	if lendable != nil && (*lendable < 0 || *lendable > 100) {
		e.invalid(at.Child("lendablePercent"), *lendable, "must be between 0 and 100, inclusive")
	}
}

func limited(e *problems, l *flowcontrolv1.LimitedPriorityLevelConfiguration, at *field.Path) {
	shares(e, l.NominalConcurrencyShares, l.LendablePercent, at)
	if b := l.BorrowingLimitPercent; b != nil && *b < 0 {
		e.invalid(at.Child("borrowingLimitPercent"), *b, "if specified, must be a non-negative integer")
	}
	at = at.Child("limitResponse")
	q := l.LimitResponse.Queuing
	switch l.LimitResponse.Type {
	case flowcontrolv1.LimitResponseTypeReject:
		if q != nil {
			e.forbidden(at.Child("queuing"), "must be nil if limited.limitResponse.type is not Limited")
		}
	case flowcontrolv1.LimitResponseTypeQueue:
		if q == nil {
			e.required(at.Child("queuing"), "must not be empty if limited.limitResponse.type is Limited")
			return
		}
		queuing(e, q, at.Child("queuing"))
	default:
		givenOneOf(e, at, "type", l.LimitResponse.Type, flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject)
	}
}

func queuing(e *problems, q *flowcontrolv1.QueuingConfiguration, at *field.Path) {
	if q.QueueLengthLimit <= 0 {
		e.invalid(at.Child("queueLengthLimit"), q.QueueLengthLimit, "must be positive")
	}
	switch {
	case q.Queues <= 0:
		e.invalid(at.Child("queues"), q.Queues, "must be positive")
	case q.Queues > mostQueues:
		e.invalid(at.Child("queues"), q.Queues, fmt.Sprintf("must not be greater than %d", mostQueues))
	}
	switch hand := at.Child("handSize"); {
	case q.HandSize <= 0:
		e.invalid(hand, q.HandSize, "must be positive")
	case q.HandSize > q.Queues:
		e.invalid(hand, q.HandSize, fmt.Sprintf("should not be greater than queues (%d)", q.Queues))
	case entropy(q.Queues, q.HandSize) > mostEntropy:
		e.invalid(hand, q.HandSize, fmt.Sprintf("required entropy bits of deckSize %d and handSize %d should not be greater than %d", q.Queues, q.HandSize, mostEntropy))
	}
}

// entropy is how many bits it takes to deal a hand from a deck, in order.
func entropy(deck, hand int32) int {
	bits := 0.0
	for n := deck; n > deck-hand && bits <= mostEntropy; n-- {
		bits += math.Log2(float64(n))
	}
	return int(math.Ceil(bits))
}
