package apiserver

import (
	"net/http"
	"time"

	"clipper/internal/trace"
)

// trace begins the request's span. Whoever the request is passed on to sees it
// as its caller.
func (q *request) trace() {
	if q.Tracer == nil {
		return
	}
	q.span = q.Tracer.Start(q.r.Header, q.start)
	if v := q.span.Header(); v != "" {
		q.r.Header[trace.Header] = []string{v}
	}
}

// traced ends it.
func (q *request) traced(now time.Time) {
	if !q.span.Kept() {
		return
	}
	name, resource := methodLabel(q.r.Method)+" "+pathLabel(q.r.URL.Path), ""
	if q.kind != nil {
		resource = q.kind.row.GroupResource().String()
		name = q.verb + " " + resource
		if q.subresource != "" {
			name += "/" + q.subresource
		}
	}
	who := ""
	if q.user != nil {
		who = q.user.GetName()
	}
	attrs := []trace.Attribute{
		{Key: "http.request.method", Text: q.r.Method}, {Key: "url.path", Text: q.r.URL.Path},
		{Key: "http.response.status_code", Number: int64(q.code)}, {Key: "http.response.body.size", Number: q.sent},
		{Key: "k8s.verb", Text: q.verb}, {Key: "enduser.id", Text: who}, {Key: "queued_us", Number: q.queued.Microseconds()},
	}
	if resource != "" {
		attrs = append(attrs, trace.Attribute{Key: "k8s.resource", Text: resource})
	}
	if a := q.r.UserAgent(); a != "" {
		attrs = append(attrs, trace.Attribute{Key: "user_agent.original", Text: a})
	}
	if id := q.w.Header()[auditHeader]; len(id) > 0 {
		attrs = append(attrs, trace.Attribute{Key: "audit-id", Text: id[0]})
	}
	q.span.End(name, now, q.code >= http.StatusInternalServerError, attrs...)
}
