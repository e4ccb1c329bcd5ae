package server

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"clipper/internal/kubelet/logs"
)

// logs serves a container's log.
func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o, err := logOptions(q, s.Clock.Now())
	if err != nil {
		refuse(w, err)
		return
	}
	previous := q.Get("previous") == "true"
	path, ended, err := s.Node.Log(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"), previous)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	out := &started{ResponseWriter: w}
	if o.Follow && !previous {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		out.yes = true
		err = logs.Follow(r.Context(), out, path, o, ended)
	} else {
		err = logs.Read(out, path, o)
	}
	switch {
	case err == nil || out.yes:
	case errors.Is(err, fs.ErrNotExist):
		refuse(w, Refuse(http.StatusInternalServerError, "failed to try resolving symlinks in path %q: %v", path, err))
	default:
		refuse(w, err)
	}
}

// started remembers whether the answer has begun.
type started struct {
	http.ResponseWriter
	yes bool
}

func (s *started) Write(b []byte) (int, error) {
	s.yes = true
	return s.ResponseWriter.Write(b)
}

// Flush sends on what was written.
func (s *started) Flush() { http.NewResponseController(s.ResponseWriter).Flush() }

// logOptions reads the query as the API's PodLogOptions.
func logOptions(q url.Values, now time.Time) (logs.Options, error) {
	o := logs.Options{Tail: -1, Limit: -1, Stdout: true, Stderr: true}
	number := func(name string, least int64, set func(int64)) error {
		v := q.Get(name)
		if v == "" {
			return nil
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < least {
			return Refuse(http.StatusBadRequest, "unable to decode the request as container log options: %s=%q must be an integer of at least %d", name, v, least)
		}
		set(n)
		return nil
	}
	flag := func(name string, to *bool) error {
		v := q.Get(name)
		if v == "" {
			return nil
		}
		b, err := strconv.ParseBool(v)
		if err != nil {
			return Refuse(http.StatusBadRequest, "unable to decode the request as container log options: %s=%q must be true or false", name, v)
		}
		*to = b
		return nil
	}
	err := errors.Join(
		flag("follow", &o.Follow),
		flag("timestamps", &o.Timestamps),
		number("tailLines", 0, func(n int64) { o.Tail = n }),
		number("limitBytes", 1, func(n int64) { o.Limit = n }),
		number("sinceSeconds", 1, func(n int64) { o.Since = now.Add(-time.Duration(n) * time.Second) }),
	)
	if err != nil {
		return o, err
	}
	if v := q.Get("sinceTime"); v != "" {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return o, Refuse(http.StatusBadRequest, "unable to decode the request as container log options: sinceTime=%q is not a time", v)
		}
		o.Since = t
	}
	switch q.Get("stream") {
	case "", "All":
	case "Stdout":
		o.Stderr = false
	case "Stderr":
		o.Stdout = false
	default:
		return o, Refuse(http.StatusBadRequest, "unable to decode the request as container log options: stream=%q", q.Get("stream"))
	}
	return o, nil
}
