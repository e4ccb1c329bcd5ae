package apiserver

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// check is one thing that must be well.
type check struct {
	name string
	run  func() error
}

// checks returns what a health path looks at. A server that is alive may not
// be ready yet, or no longer.
func (s *Server) checks(path string) []check {
	list := []check{
		{"ping", func() error { return nil }},
		{"etcd", s.storeHealth},
	}
	if path == "readyz" {
		list = append(list, check{"informer-sync", s.loadedHealth})
	}
	for _, stage := range s.steps {
		for _, one := range stage {
			list = append(list, check{one.name, one.health})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Checks)) {
		list = append(list, check{name, s.Checks[name]})
	}
	if path == "readyz" {
		list = append(list, check{"shutdown", s.endingHealth})
	}
	return list
}

var (
	errNotLoaded = errors.New("the watch cache is not loaded yet")
	errEnding    = errors.New("process is shutting down")
	errNoStore   = errors.New("the watch cache has lost the store")
)

func (s *Server) storeHealth() error {
	if s.failed.Load() {
		return errNoStore
	}
	return nil
}

func (s *Server) loadedHealth() error {
	select {
	case <-s.ready:
		return nil
	default:
		return errNotLoaded
	}
}

func (s *Server) endingHealth() error {
	select {
	case <-s.ending:
		return errEnding
	default:
		return nil
	}
}

// health answers /healthz, /livez and /readyz, and single checks below them.
func (q *request) health(path, one string) error {
	list := q.checks(path)
	if one != "" {
		i := slices.IndexFunc(list, func(c check) bool { return c.name == one })
		if i < 0 {
			return q.nothing()
		}
		if err := list[i].run(); err != nil {
			return q.text(http.StatusInternalServerError, fmt.Sprintf("internal server error: %v\n", err))
		}
		return q.text(http.StatusOK, "ok")
	}
	var b strings.Builder
	failed := false
	exclude := map[string]bool{} // and whether there is such a check
	for _, name := range q.query["exclude"] {
		exclude[name] = false
	}
	for _, c := range list {
		if _, ok := exclude[c.name]; ok {
			exclude[c.name] = true
			fmt.Fprintf(&b, "[+]%s excluded: ok\n", c.name)
			continue
		}
		if err := c.run(); err != nil {
			failed = true
			q.Logger.Debug("health check failed", "check", c.name, "err", err)
			fmt.Fprintf(&b, "[-]%s failed: reason withheld\n", c.name)
			continue
		}
		fmt.Fprintf(&b, "[+]%s ok\n", c.name)
	}
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(exclude)) {
		if !exclude[name] {
			unknown = append(unknown, `"`+name+`"`)
		}
	}
	if len(unknown) > 0 {
		fmt.Fprintf(&b, "warn: some health checks cannot be excluded: no matches for %s\n", strings.Join(unknown, ","))
	}
	if failed {
		fmt.Fprintf(&b, "%s check failed\n", path)
		return q.text(http.StatusInternalServerError, b.String())
	}
	if _, verbose := q.query["verbose"]; verbose {
		fmt.Fprintf(&b, "%s check passed\n", path)
		return q.text(http.StatusOK, b.String())
	}
	return q.text(http.StatusOK, "ok")
}

// nothing is the answer to a path that is nothing's, not even below what is
// served.
func (q *request) nothing() error { return q.text(http.StatusNotFound, "404 page not found\n") }

func (q *request) text(code int, s string) error {
	h := q.w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	setInt(h, "Content-Length", len(s))
	q.code = code
	q.w.WriteHeader(code)
	q.w.Write([]byte(s))
	return nil
}
