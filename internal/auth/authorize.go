package auth

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Grant gives rules to users and groups, as a role with its bindings does.
type Grant struct {
	// Role is upstream's name of the ClusterRole or Role.
	Role          string
	Users, Groups []string
	// Namespace, if set, is where alone the rules hold.
	Namespace string
	Rules     []rbacv1.PolicyRule
}

// Rules authorises by a fixed table of grants. What system:masters asks is
// always allowed; nodes are judged by a NodeAuthorizer first.
type Rules struct {
	nodes           *NodeAuthorizer
	byUser, byGroup map[string][]*Grant

	// What the NodeAuthorizer allowed, and what grants did.
	nodeAllowed, grantAllowed atomic.Uint64
}

// NewRules returns an Authorizer over the built-in grants. pods is where the
// pods of a node are looked up.
func NewRules(pods NodePods, objects Objects) *Rules {
	r := &Rules{
		nodes:   &NodeAuthorizer{pods: pods, objects: objects},
		byUser:  map[string][]*Grant{},
		byGroup: map[string][]*Grant{},
	}
	for _, g := range builtin() {
		for _, u := range g.Users {
			r.byUser[u] = append(r.byUser[u], &g)
		}
		for _, group := range g.Groups {
			r.byGroup[group] = append(r.byGroup[group], &g)
		}
	}
	return r
}

// Authorize decides; it never fails.
func (r *Rules) Authorize(ctx context.Context, a Attributes) (bool, string, error) {
	groups := a.User.GetGroups()
	if slices.Contains(groups, Masters) {
		return true, "", nil
	}
	var reason string
	if slices.Contains(groups, Nodes) {
		var allowed bool
		if allowed, reason = r.nodes.authorize(a); allowed {
			r.nodeAllowed.Add(1)
			return true, "", nil
		}
	}
	if anyAllows(r.byUser[a.User.GetName()], &a) {
		r.grantAllowed.Add(1)
		return true, "", nil
	}
	for _, g := range groups {
		if anyAllows(r.byGroup[g], &a) {
			r.grantAllowed.Add(1)
			return true, "", nil
		}
	}
	return false, reason, nil
}

// RulesFor returns the rules that hold for a user in a namespace, for
// SelfSubjectRulesReviews. What is judged object by object is no rule, and
// without it a node's are incomplete.
func (r *Rules) RulesFor(u user.Info, namespace string) (s authorizationv1.SubjectRulesReviewStatus) {
	s.ResourceRules, s.NonResourceRules = []authorizationv1.ResourceRule{}, []authorizationv1.NonResourceRule{}
	groups := u.GetGroups()
	if slices.Contains(groups, Masters) {
		all := []string{"*"}
		s.ResourceRules = append(s.ResourceRules, authorizationv1.ResourceRule{Verbs: all, APIGroups: all, Resources: all})
		s.NonResourceRules = append(s.NonResourceRules, authorizationv1.NonResourceRule{Verbs: all, NonResourceURLs: all})
	}
	if slices.Contains(groups, Nodes) {
		s.Incomplete, s.EvaluationError = true, "node authorizer does not support user rule resolution"
	}
	grants := slices.Clone(r.byUser[u.GetName()])
	for _, g := range groups {
		grants = append(grants, r.byGroup[g]...)
	}
	for _, g := range grants {
		if g.Namespace != "" && g.Namespace != namespace {
			continue
		}
		for _, rule := range g.Rules {
			if len(rule.Resources) > 0 {
				s.ResourceRules = append(s.ResourceRules, authorizationv1.ResourceRule{
					Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames,
				})
			}
			if len(rule.NonResourceURLs) > 0 && g.Namespace == "" {
				s.NonResourceRules = append(s.NonResourceRules, authorizationv1.NonResourceRule{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
			}
		}
	}
	return s
}

func anyAllows(grants []*Grant, a *Attributes) bool {
	for _, g := range grants {
		if g.Namespace != "" && (g.Namespace != a.Namespace || a.Path != "") {
			continue
		}
		for i := range g.Rules {
			if Allows(&g.Rules[i], a) {
				return true
			}
		}
	}
	return false
}

// Allows tells whether one rule covers a request, by RBAC's reading of rules.
func Allows(rule *rbacv1.PolicyRule, a *Attributes) bool {
	if !matches(rule.Verbs, a.Verb) {
		return false
	}
	if a.Path != "" {
		return slices.ContainsFunc(rule.NonResourceURLs, func(u string) bool {
			prefix, open := strings.CutSuffix(u, "*")
			return u == a.Path || open && strings.HasPrefix(a.Path, prefix)
		})
	}
	return matches(rule.APIGroups, a.APIGroup) &&
		resourceMatches(rule.Resources, a) &&
		(len(rule.ResourceNames) == 0 || a.Name != "" && slices.Contains(rule.ResourceNames, a.Name))
}

func matches(allowed []string, wanted string) bool {
	for _, s := range allowed {
		if s == wanted || s == "*" {
			return true
		}
	}
	return false
}

// resourceMatches: "pods" is not "pods/log"; "*/scale" is every resource's.
func resourceMatches(allowed []string, a *Attributes) bool {
	for _, s := range allowed {
		if s == "*" {
			return true
		}
		resource, subresource, _ := strings.Cut(s, "/")
		if subresource == a.Subresource && (resource == a.Resource || resource == "*" && subresource != "") {
			return true
		}
	}
	return false
}
