package fairness

import (
	"cmp"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Request is what flow schemas tell requests apart by.
type Request struct {
	User user.Info
	Verb string
	// Resource tells whether Group, Name and Namespace say what is asked for,
	// or Path does. Name has the subresource behind a slash, if there is one.
	Resource               bool
	Group, Name, Namespace string
	Path                   string
}

// flow is a flow schema, ready to be matched, and the level it leads to.
type flow struct {
	name        string
	level       *level
	rules       []rule
	byUser      bool
	byNamespace bool
	seed        uint64 // of the hashes, so that equal users of two flows differ
	// uid and levelUID are the values of the answer's headers.
	uid, levelUID []string

	counts // of the requests of this flow; guarded by the Dispatcher
}

type rule struct {
	subjects  []subject
	resources []resourceRule
	paths     []pathRule
}

// subject is one user, group, or service account; an account's name may be "*".
type subject struct {
	kind flowcontrolv1.SubjectKind
	// name is a user's or a group's; prefix that of all accounts of a namespace.
	name, prefix string
}

// names is a list that may hold everything.
type names struct {
	all  bool
	list []string
}

func newNames(list []string) names { return names{slices.Contains(list, "*"), list} }

func (n *names) has(s string) bool { return n.all || slices.Contains(n.list, s) }

type resourceRule struct {
	verbs, groups, resources, namespaces names
	cluster                              bool
}

type pathRule struct{ verbs, paths names }

// compile makes a flow of a schema.
func compile(s *flowcontrolv1.FlowSchema, l *level) *flow {
	f := &flow{name: s.Name, level: l, uid: []string{string(s.UID)}, levelUID: []string{l.uid}}
	if d := s.Spec.DistinguisherMethod; d != nil {
		f.byUser = d.Type == flowcontrolv1.FlowDistinguisherMethodByUserType
		f.byNamespace = d.Type == flowcontrolv1.FlowDistinguisherMethodByNamespaceType
	}
	for _, r := range s.Spec.Rules {
		var out rule
		for _, sub := range r.Subjects {
			switch {
			case sub.User != nil:
				out.subjects = append(out.subjects, subject{kind: sub.Kind, name: sub.User.Name})
			case sub.Group != nil:
				out.subjects = append(out.subjects, subject{kind: sub.Kind, name: sub.Group.Name})
			case sub.ServiceAccount != nil:
				a := subject{kind: sub.Kind, prefix: "system:serviceaccount:" + sub.ServiceAccount.Namespace + ":"}
				if sub.ServiceAccount.Name != "*" {
					a.name = a.prefix + sub.ServiceAccount.Name
				}
				out.subjects = append(out.subjects, a)
			}
		}
		for _, rr := range r.ResourceRules {
			out.resources = append(out.resources, resourceRule{
				newNames(rr.Verbs), newNames(rr.APIGroups), newNames(rr.Resources), newNames(rr.Namespaces), rr.ClusterScope,
			})
		}
		for _, p := range r.NonResourceRules {
			out.paths = append(out.paths, pathRule{newNames(p.Verbs), newNames(p.NonResourceURLs)})
		}
		f.rules = append(f.rules, out)
	}
	return f
}

// inOrder sorts schemas as they are tried: by precedence, then by name.
func inOrder(a, b *flowcontrolv1.FlowSchema) int {
	return cmp.Or(cmp.Compare(a.Spec.MatchingPrecedence, b.Spec.MatchingPrecedence), strings.Compare(a.Name, b.Name))
}

func (f *flow) matches(r *Request, groups []string) bool {
	for i := range f.rules {
		if rule := &f.rules[i]; rule.concerns(r) && rule.from(r.User.GetName(), groups) {
			return true
		}
	}
	return false
}

// concerns tells whether the rule is about what is asked for.
func (u *rule) concerns(r *Request) bool {
	if !r.Resource {
		for i := range u.paths {
			if p := &u.paths[i]; p.verbs.has(r.Verb) && p.has(r.Path) {
				return true
			}
		}
		return false
	}
	for i := range u.resources {
		p := &u.resources[i]
		if p.verbs.has(r.Verb) && p.groups.has(r.Group) && p.resources.has(r.Name) &&
			(r.Namespace == "" && p.cluster || r.Namespace != "" && p.namespaces.has(r.Namespace)) {
			return true
		}
	}
	return false
}

// has tells whether a path is one of the rule's, which may end with "/*".
func (p *pathRule) has(path string) bool {
	if p.paths.has(path) {
		return true
	}
	for _, pattern := range p.paths.list {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasSuffix(prefix, "/") && strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// from tells whether the rule is about who asks.
func (u *rule) from(name string, groups []string) bool {
	for i := range u.subjects {
		s := &u.subjects[i]
		switch s.kind {
		case flowcontrolv1.SubjectKindUser:
			if s.name == name || s.name == "*" {
				return true
			}
		case flowcontrolv1.SubjectKindGroup:
			if s.name == "*" || slices.Contains(groups, s.name) {
				return true
			}
		case flowcontrolv1.SubjectKindServiceAccount:
			if s.name == name || s.name == "" && strings.HasPrefix(name, s.prefix) {
				return true
			}
		}
	}
	return false
}
