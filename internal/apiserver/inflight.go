package apiserver

import (
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"clipper/internal/apiserver/fairness"
	"clipper/internal/auth"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// maxInflight is how many requests may be under way at once if nothing else
	// is said: upstream's defaults for reads and for writes, which share the
	// seats there, too.
	maxInflight = 400 + 200
	// queueWithin is how long a request may wait for its seat.
	queueWithin = 15 * time.Second
	// objectsPerSeat is how many objects a list brings for each seat it takes.
	objectsPerSeat = 500
)

// inflight counts the requests under way.
type inflight struct{ reads, writes, long atomic.Int64 }

// enter counts a request and gives it a seat, perhaps after it waited. Who is
// in this process needs none: components bound themselves, and must not wait
// for clients. Long requests need none either, but a watch has one until it
// has said what there was.
func (q *request) enter() error {
	long := q.long()
	switch {
	case long:
		q.counted = &q.inflight.long
	case reads(q.r.Method):
		q.counted = &q.inflight.reads
	default:
		q.counted = &q.inflight.writes
	}
	q.counted.Add(1)
	if long && q.verb != "watch" {
		return nil
	}
	if _, inside := auth.UserFrom(q.ctx); inside {
		return nil
	}
	r := fairness.Request{User: q.user, Verb: q.verb, Resource: q.resource, Path: q.r.URL.Path}
	if q.resource {
		r.Group, r.Name, r.Namespace = q.group, q.plural, q.namespace
		if q.plural == "namespaces" {
			r.Namespace = "" // a Namespace itself is the cluster's
		}
		if q.subresource != "" {
			r.Name += "/" + q.subresource
		}
	}
	seat, waited, err := q.fairness.Enter(q.ctx, &r, q.width(), q.start)
	q.metrics.guards.fairness.Took(waited)
	if err != nil {
		if rejected := (*fairness.Rejected)(nil); errors.As(err, &rejected) {
			return apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
		}
		return err
	}
	q.seat, q.seated, q.queued = seat, true, waited
	h := q.w.Header()
	h[flowSchemaHeader], h[priorityLevelHeader] = seat.Headers()
	return nil
}

// The names, as net/http writes them, of the headers that tell how a request
// was classified.
const (
	flowSchemaHeader    = "X-Kubernetes-Pf-Flowschema-Uid"
	priorityLevelHeader = "X-Kubernetes-Pf-Prioritylevel-Uid"
)

func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// width is how many seats a request takes: a list more the longer it may be.
func (q *request) width() int {
	if q.verb != "list" || !q.resource || q.namespace != "" {
		return 1
	}
	row := q.Table.ByPath(q.group, q.version, q.plural)
	if row == nil || q.kinds[row].cache == nil {
		return 1
	}
	n := q.kinds[row].cache.Len()
	if s := q.query.Get("limit"); s != "" {
		if limit, err := strconv.Atoi(s); err == nil && limit > 0 {
			n = min(n, limit)
		}
	}
	return min(1+n/objectsPerSeat, fairness.MaxSeats)
}

// stand gives the request's seat back, if it has one.
func (q *request) stand() {
	if q.seated {
		q.seated = false
		q.seat.Release(q.Clock.Now())
	}
}

// leave ends what enter began.
func (q *request) leave() {
	q.stand()
	if q.counted != nil {
		q.counted.Add(-1)
	}
}
