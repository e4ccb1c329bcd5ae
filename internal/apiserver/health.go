package apiserver

import (
	"errors"
	"fmt"
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
	if path != "livez" {
		list = append(list, check{"informer-sync", s.loadedHealth})
	}
	for name, run := range s.Checks {
		list = append(list, check{name, run})
	}
	slices.SortFunc(list[2:], func(a, b check) int { return strings.Compare(a.name, b.name) })
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
	exclude := q.query["exclude"]
	for _, c := range list {
		if slices.Contains(exclude, c.name) {
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
