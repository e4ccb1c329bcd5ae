package apiserver

import (
	"net/http"
	"strings"
)

// route is what a request's path and method mean.
type route struct {
	// verb is the one that authorisation, discovery and messages use; for paths
	// that are no resource's, the method in lower case.
	verb string
	// resource tells whether the path is below /api or /apis/GROUP and names
	// a resource.
	resource                 bool
	group, version           string
	namespace, plural        string
	name, subresource, below string
}

// parse reads a path such as /apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUB.
// What is below a subresource (of a proxy) is not parsed.
func parse(method, path string, watch bool) route {
	var r route
	rest, ok := strings.CutPrefix(path, "/api/")
	if ok {
		r.version, rest = segment(rest)
	} else if rest, ok = strings.CutPrefix(path, "/apis/"); ok {
		r.group, rest = segment(rest)
		r.version, rest = segment(rest)
		ok = r.group != ""
	}
	if !ok || r.version == "" || strings.Trim(rest, "/") == "" {
		return route{verb: strings.ToLower(method)}
	}
	r.resource = true
	// The prefix "watch" is an older spelling of the parameter.
	older := false
	if first, more := segment(rest); first == "watch" && more != "" {
		older, rest = true, more
	}
	r.plural, rest = segment(rest)
	if r.plural == "namespaces" && r.group == "" {
		r.name, rest = segment(rest)
		if below, more := segment(rest); below != "" && below != "status" && below != "finalize" {
			r.namespace, r.name, r.plural, rest = r.name, "", below, more
			r.name, rest = segment(rest)
		}
		if r.plural == "namespaces" {
			r.namespace = r.name // as authorisation sees it
		}
	} else if r.plural == "namespaces" {
		r.namespace, rest = segment(rest)
		r.plural, rest = segment(rest)
		r.name, rest = segment(rest)
	} else {
		r.name, rest = segment(rest)
	}
	if r.plural == "" { // /api/v1//name is no resource's
		return route{verb: strings.ToLower(method)}
	}
	if r.subresource, r.below = cut(rest); r.subresource == "" {
		r.below = ""
	}
	r.verb = verb(method, r.name, older || watch && r.name == "")
	return r
}

func verb(method, name string, watch bool) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		switch {
		case watch:
			return "watch"
		case name == "":
			return "list"
		}
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	return strings.ToLower(method)
}

// segment splits off the first segment of a path without its leading slash.
func segment(p string) (first, rest string) {
	first, rest, _ = strings.Cut(p, "/")
	return first, rest
}

// cut is segment, but rest keeps its slash, so that "proxy" and "proxy/" differ.
func cut(p string) (first, rest string) {
	if i := strings.IndexByte(p, '/'); i >= 0 {
		return p[:i], p[i:]
	}
	return p, ""
}
