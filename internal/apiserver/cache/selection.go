package cache

import (
	"fmt"

	"clipper/internal/scheme"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Selection is the part of a resource that a list or a watch is about.
type Selection struct {
	row             *scheme.Resource
	namespaced      bool
	namespace, name string
	byIndex         bool
	index           string
	label           labels.Selector     // nil selects all
	reqs            fields.Requirements // what name and namespace do not say
}

// Select narrows a resource to a namespace (empty is all), labels and fields
// (nil is all). Requirements that name one object, one namespace or one value
// of the indexed field make the scope that is looked at smaller.
func (r *Resource) Select(namespace string, label labels.Selector, field fields.Selector) *Selection {
	return selectOf(r.row, r.indexed, namespace, label, field)
}

// SelectUnkept is Select for a kind whose objects are not kept, to match entries
// that are made.
func SelectUnkept(row *scheme.Resource, label labels.Selector, field fields.Selector) *Selection {
	return selectOf(row, "", "", label, field)
}

func selectOf(row *scheme.Resource, indexed, namespace string, label labels.Selector, field fields.Selector) *Selection {
	s := &Selection{row: row, namespaced: row.Namespaced, namespace: namespace}
	if label != nil && !label.Empty() {
		s.label = label
	}
	if field == nil || field.Empty() {
		return s
	}
	for _, q := range field.Requirements() {
		exact := q.Operator == selection.Equals || q.Operator == selection.DoubleEquals
		switch {
		case exact && q.Field == "metadata.name" && s.name == "" && q.Value != "":
			s.name = q.Value
		case exact && q.Field == "metadata.namespace" && s.namespaced && (s.namespace == "" || s.namespace == q.Value) && q.Value != "":
			s.namespace = q.Value
		case exact && indexed != "" && q.Field == indexed && !s.byIndex:
			s.byIndex, s.index = true, q.Value
			s.reqs = append(s.reqs, q)
		default:
			s.reqs = append(s.reqs, q)
		}
	}
	return s
}

// text is another's, if that selects the same.
func (s *Selection) text() string {
	label := ""
	if s.label != nil {
		label = s.label.String()
	}
	return fmt.Sprintf("%q %q %q %q", s.namespace, s.name, label, s.reqs)
}

// Whole tells whether the selection asks nothing beyond a namespace: then all
// that Ascend comes by matches.
func (s *Selection) Whole() bool {
	return s.label == nil && len(s.reqs) == 0 && s.name == ""
}

// Everything tells whether every entry of the scope matches.
func (s *Selection) everything() bool { return s.Whole() && s.namespace == "" }

func (s *Selection) prefix() string {
	if s.namespace == "" {
		return ""
	}
	return s.namespace + "/"
}

// feed names the narrowest feed that holds all events of the selection; empty
// is the whole resource's.
func (s *Selection) feed() string {
	switch {
	case s.name != "" && (s.namespace != "" || !s.namespaced):
		return byKey + Key(s.namespace, s.name)
	case s.byIndex:
		return byIndex + s.index
	case s.namespace != "":
		return byNamespace + s.namespace
	}
	return ""
}

// Matches tells whether the entry is selected.
func (s *Selection) Matches(e *Entry) bool {
	if s.name != "" && e.Meta().GetName() != s.name {
		return false
	}
	if s.namespace != "" && e.Meta().GetNamespace() != s.namespace {
		return false
	}
	if s.label != nil && !s.label.Matches(e.labels()) {
		return false
	}
	if len(s.reqs) == 0 {
		return true
	}
	have := s.row.Fields(e.Object)
	for _, q := range s.reqs {
		if (have.Get(q.Field) == q.Value) == (q.Operator == selection.NotEquals) {
			return false
		}
	}
	return true
}
