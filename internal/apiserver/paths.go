package apiserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// path answers what is no resource.
func (q *request) path(path string) error {
	if h := q.mounted(path); h != nil {
		r := q.r
		if strings.HasPrefix(path, "/openapi/") {
			q.handled = strings.HasPrefix(path, "/openapi/v3")
			r = q.read()
		}
		h.ServeHTTP(answered{q.w, q}, r)
		return nil
	}
	name, rest, below := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch name {
	case "healthz", "livez", "readyz":
		if below && rest == "" {
			return q.nothing()
		}
		q.handled = !below
		return q.health(name, rest)
	case "version":
		if q.r.Method != http.MethodGet {
			return q.notAllowed()
		}
		if rest == "" {
			return q.versionInfo()
		}
	case "metrics":
		switch rest {
		case "":
			q.metrics.handler.ServeHTTP(answered{q.w, q}, q.r)
			return nil
		case "slis":
			q.slisHandler().ServeHTTP(answered{q.w, q}, q.r)
			return nil
		}
	case "":
		return q.index()
	case "api", "apis":
		group, version := "", rest
		if name == "apis" {
			group, version = segment(rest)
			if rest != "" && !q.serves(group, "") {
				return q.nothing()
			}
		}
		if version = strings.TrimSuffix(version, "/"); version != "" && !q.serves(group, version) {
			return notServed()
		}
		if q.r.Method != http.MethodGet && (name == "api" || strings.Contains(rest, "/")) {
			return q.notAllowed()
		}
		if q.Discovery != nil {
			q.Discovery.ServeHTTP(answered{q.w, q}, q.read())
			q.handled = rest == "" && strings.Contains(q.w.Header().Get("Content-Type"), ";as=") // of all groups in one
			return nil
		}
	}
	if name == "api" || name == "apis" || name == "version" {
		return notServed()
	}
	return q.nothing()
}

// read is the request as a read: some paths answer whatever method they are asked with.
func (q *request) read() *http.Request {
	if q.r.Method == http.MethodGet || q.r.Method == http.MethodHead {
		return q.r
	}
	r := *q.r
	r.Method = http.MethodGet
	return &r
}

// serves tells whether there is a group, and, if it is stated, a version of it.
func (q *request) serves(group, version string) bool {
	return slices.ContainsFunc(q.Table.Groups(), func(g scheme.Group) bool {
		return g.Name == group && (version == "" || slices.Contains(g.Versions, version))
	})
}

// mounted returns the handler of a path: of the path itself, or the longest prefix.
func (q *request) mounted(path string) http.Handler {
	if h := q.Handlers[path]; h != nil {
		return h
	}
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			if h := q.Handlers[path[:i+1]]; h != nil {
				return h
			}
		}
	}
	return nil
}

func (q *request) versionInfo() error {
	b, err := json.MarshalIndent(q.Version, "", "  ")
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	q.form = form{set: true, media: scheme.YAML} // as it is, without a line end
	q.w.Header()["Content-Type"] = contentTypes[scheme.JSON]
	setInt(q.w.Header(), "Content-Length", len(b))
	q.code = http.StatusOK
	q.w.WriteHeader(q.code)
	q.w.Write(b)
	return nil
}

// index lists the paths that are served.
func (q *request) index() error {
	paths := []string{"/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/metrics/slis", "/readyz", "/version"}
	for _, g := range q.Table.Groups() {
		if g.Name == "" {
			continue
		}
		paths = append(paths, "/apis/"+g.Name)
		for _, v := range g.Versions {
			paths = append(paths, "/apis/"+g.Name+"/"+v)
		}
	}
	for p := range q.Handlers {
		paths = append(paths, strings.TrimSuffix(p, "/"))
	}
	slices.Sort(paths)
	b, err := json.MarshalIndent(map[string][]string{"paths": slices.Compact(paths)}, "", "  ")
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	q.form = form{set: true, media: scheme.JSON}
	q.body(http.StatusOK, b)
	return nil
}
