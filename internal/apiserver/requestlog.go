package apiserver

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// slowRequest is from when a request is worth a line in the log, if nothing else
// was said.
const slowRequest = time.Second

// auditHeader is the name of a request's id, as net/http writes it. A client may
// choose it.
const auditHeader = "Audit-Id"

// identify gives the request an id, which its answer carries.
func (q *request) identify() {
	given := q.r.Header[auditHeader]
	switch {
	case len(given) > 0 && len(given[0]) <= 64:
		q.w.Header()[auditHeader] = given[:1]
	case q.RequestLog > 0 || q.Tracer != nil:
		var b [16]byte
		rand.Read(b[:]) // never fails
		q.w.Header()[auditHeader] = []string{hex.EncodeToString(b[:])}
	}
}

// log writes a line about a request that took long, and about any if all are to
// be logged; watches and other streams are long by nature.
func (q *request) log(now time.Time) {
	took := now.Sub(q.start)
	least := q.RequestLog
	if least == 0 {
		least = slowRequest
	}
	if least < 0 || took < least || q.long() && q.RequestLog == 0 {
		return
	}
	level, text := slog.LevelInfo, "request"
	if took >= slowRequest && !q.long() {
		level, text = slog.LevelWarn, "slow request"
	}
	if !q.Logger.Enabled(q.ctx, level) {
		return
	}
	name := ""
	if q.user != nil {
		name = q.user.GetName()
	}
	attrs := []slog.Attr{
		slog.String("verb", q.verb), slog.String("uri", uri(q.r.URL)), slog.Int("code", q.code), slog.Duration("took", took),
		slog.String("user", name), slog.String("agent", q.r.UserAgent()), slog.String("from", q.r.RemoteAddr), slog.Int64("bytes", q.sent),
	}
	if id := q.w.Header()[auditHeader]; len(id) > 0 {
		attrs = append(attrs, slog.String("id", id[0]))
	}
	// Where the time went: until it was known who asks, in a queue, and after.
	if took >= slowRequest {
		attrs = append(attrs, slog.Duration("authenticated", q.known.Sub(q.start)), slog.Duration("queued", q.queued), slog.Duration("served", now.Sub(q.known)-q.queued))
	}
	q.Logger.LogAttrs(q.ctx, level, text, attrs...)
}

// uri is the request's path and query without what may be secret: what is
// executed in a container.
func uri(u *url.URL) string {
	if u.RawQuery == "" {
		return u.EscapedPath()
	}
	var kept []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if n, err := url.QueryUnescape(name); err != nil || n == "command" || n == "token" || n == "access_token" {
			part = name + "=..."
		}
		kept = append(kept, part)
	}
	return u.EscapedPath() + "?" + strings.Join(kept, "&")
}

// answered is a writer that remembers the code of an answer that is written by
// a handler of its own.
type answered struct {
	http.ResponseWriter
	q *request
}

func (a answered) WriteHeader(code int) {
	if a.q.code == 0 && code >= 200 {
		a.q.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a answered) Write(b []byte) (int, error) {
	if a.q.code == 0 {
		a.q.code = http.StatusOK
	}
	a.q.sent += int64(len(b))
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }
