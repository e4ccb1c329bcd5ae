package ownership

import (
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"clipper/internal/scheme"
)

// scope is which fields a path writes: what it does not write, nobody comes to
// own by naming it there.
type scope struct {
	// except are passed over, with all below them.
	except *set
	// only, if any, are what alone is written; "*" stands for any element.
	only [][]string
	// filter is the same for a merge.
	filter fieldpath.Filter
}

// system are the fields of every object that nobody owns.
var system = []string{
	"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.creationTimestamp", "metadata.selfLink",
	"metadata.uid", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion",
}

// reset are the fields that a path puts back, beyond the usual: the object's
// own path status, and the status path spec.
var reset = map[string][]string{
	"certificatesigningrequests":          {"spec", "status"},
	"certificatesigningrequests/status":   {"spec", "status.conditions"},
	"certificatesigningrequests/approval": {"spec", "status.certificate"},
	"deployments/status":                  {"spec", "metadata.labels"},
	"namespaces/finalize":                 {"status"},
	"pods/status":                         {"spec", "metadata.deletionTimestamp", "metadata.ownerReferences"},
	"volumeattachments/status":            {"spec", "metadata"},
}

// written are the fields that a path writes, where they are few.
var written = map[string][]string{
	"scale":               {"spec.replicas"},
	"ephemeralcontainers": {"spec.ephemeralContainers"},
	"resize": {
		"spec.resources", "spec.containers.*.resources", "spec.containers.*.resizePolicy",
		"spec.initContainers.*.resources", "spec.initContainers.*.resizePolicy",
	},
}

func newScope(r *scheme.Resource, subresource string) *scope {
	var excluded []string
	if paths, ok := reset[strings.TrimSuffix(r.Name+"/"+subresource, "/")]; ok {
		excluded = paths
	} else if subresource == "status" {
		excluded = []string{"spec"}
	} else if subresource == "" && r.Subresource("status") != nil {
		excluded = []string{"status"}
	}
	s := &scope{except: &set{}}
	for _, path := range system {
		s.except.add(elements(path))
	}
	left := fieldpath.NewSet()
	for _, path := range excluded {
		s.except.add(elements(path))
		left.Insert(fieldpath.MakePathOrDie(names(path)...))
	}
	if !left.Empty() {
		s.filter = fieldpath.NewExcludeSetFilter(left)
	}
	var matchers []*fieldpath.SetMatcher
	for _, path := range written[subresource] {
		s.only = append(s.only, elements(path))
		matchers = append(matchers, fieldpath.MakePrefixMatcherOrDie(matched(path)...))
	}
	if len(matchers) > 0 {
		s.filter = fieldpath.NewIncludeMatcherFilter(matchers...)
	}
	return s
}

// elements returns a path such as "spec.containers.*" as sets have it.
func elements(path string) (all []string) {
	for e := range strings.SplitSeq(path, ".") {
		if e != "*" {
			e = "f:" + e
		}
		all = append(all, e)
	}
	return all
}

func names(path string) (all []any) {
	for e := range strings.SplitSeq(path, ".") {
		all = append(all, e)
	}
	return all
}

func matched(path string) (all []any) {
	for e := range strings.SplitSeq(path, ".") {
		if e == "*" {
			all = append(all, fieldpath.MatchAnyPathElement())
		} else {
			all = append(all, e)
		}
	}
	return all
}

// keep takes out of the changes what the path does not write.
func (s *scope) keep(c *changes) {
	if len(s.only) > 0 {
		c.removed.keep(s.only)
		c.modified.keep(s.only)
		c.added.keep(s.only)
	}
}

// keep takes out all that none of the patterns fits.
func (s *set) keep(patterns [][]string) {
	kept := s.below[:0]
	for _, b := range s.below {
		var rest [][]string
		whole := false
		for _, p := range patterns {
			if p[0] == "*" || p[0] == b.element {
				rest, whole = append(rest, p[1:]), whole || len(p) == 1
			}
		}
		switch {
		case len(rest) == 0:
			continue
		case !whole:
			b.keep(rest)
		}
		if !b.empty() {
			kept = append(kept, b)
		}
	}
	clear(s.below[len(kept):])
	s.below = kept
}
