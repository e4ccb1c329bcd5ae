package apiserver

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"clipper/internal/auth"
	"clipper/internal/measure"
	"clipper/internal/scheme"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of histograms, which are upstream's.
var (
	secondsBounds = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}
	serviceBounds = secondsBounds[2:] // of those that objectives are made of
	listedBounds  = []float64{0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60}
	bodyBounds    = prometheus.LinearBuckets(50000, 100000, 31)
	guardBounds   = prometheus.ExponentialBuckets(0.001, 2, 15) // of authentication and authorisation
	filterBounds  = []float64{0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 5, 10, 15, 30}
	sizeBounds    = []float64{1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}
	eventBounds   = []float64{1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17}
	expiryBounds  = []float64{0, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000}
)

// stats are the counters of one kind, or of all paths that are no kind's.
type stats struct {
	series  measure.Set[seriesKey, series]
	manners measure.Set[mannerKey, manner]

	events *measure.Histogram // of watches; nil for what is not watched
}

// mannerKey is what requests of a kind are told apart by, besides their answers.
type mannerKey struct{ verb, subresource, scope, dryRun string }

type manner struct {
	mannerKey
	under   atomic.Int64 // way, of those that are long by nature
	long    atomic.Bool  // whether there was any such
	took    *measure.Histogram
	answers *measure.Histogram // sizes
	listed  *measure.Histogram // until a watch had told what there was
}

type seriesKey struct {
	mannerKey
	code int
}

type series struct {
	manner *manner
	code   int
	total  atomic.Uint64
}

func (s *stats) manner(key mannerKey) *manner { return s.manners.Get(key, newManner) }

func newManner(key mannerKey) *manner {
	m := &manner{mannerKey: key, took: measure.Seconds(secondsBounds), answers: measure.Sizes(sizeBounds)}
	if key.verb == "WATCH" {
		m.listed = measure.Seconds(listedBounds)
	}
	return m
}

func (s *stats) of(key seriesKey) *series {
	return s.series.Get(key, func(key seriesKey) *series {
		return &series{manner: s.manner(key.mannerKey), code: key.code}
	})
}

// target is what a request is made of, whatever version and form it has there.
type target struct{ verb, group, resource, subresource string }

func (q *request) target(verb string) target {
	t := target{verb: verb}
	if q.kind == nil {
		t.subresource = pathLabel(q.r.URL.Path)
		return t
	}
	t.group, t.resource = q.kind.row.Group, q.kind.row.Name
	if q.kind.row.Subresource(q.subresource) != nil {
		t.subresource = q.subresource
	}
	return t
}

// cutOff is a target of requests whose answers were cut off.
type cutOff struct {
	target
	version, scope string
}

func newBodies(target) *measure.Histogram  { return measure.Sizes(bodyBounds) }
func newService(string) *measure.Histogram { return measure.Seconds(serviceBounds) }
func newCount[K any](K) *atomic.Uint64     { return new(atomic.Uint64) }

// stats returns what counts the request, and as what.
func (q *request) stats() (*stats, mannerKey) {
	if q.kind == nil {
		return &q.paths, mannerKey{verb: methodLabel(q.r.Method), subresource: pathLabel(q.r.URL.Path)}
	}
	key := mannerKey{verb: q.verbLabel(), scope: q.scopeLabel()}
	if q.kind.row.Subresource(q.subresource) != nil {
		key.subresource = q.subresource // never what a client made up
	}
	key.dryRun = dryRunLabel(q.query["dryRun"])
	return &q.kind.stats, key
}

// observe counts a request that is over, if it came to who answers it: what is
// turned away before, or leads nowhere, has no series. Too many are counted.
func (q *request) observe(now time.Time) {
	if !q.handled && q.code != http.StatusTooManyRequests {
		return
	}
	code := q.code
	if code == 0 {
		// A handler of its own, or a Connector, answered.
		code = http.StatusOK
		if q.r.Header.Get("Upgrade") != "" {
			code = http.StatusSwitchingProtocols
		}
	}
	st, key := q.stats()
	s := st.of(seriesKey{key, code})
	s.total.Add(1)
	if q.user != nil && q.user.GetName() == auth.APIServer {
		q.metrics.own.Get(q.target(key.verb), newCount).Add(1)
	}
	took := now.Sub(q.start)
	s.manner.took.Took(took)
	if q.sent > 0 && reads(q.r.Method) && key.verb != "CONNECT" {
		s.manner.answers.Add(q.sent)
	}
	switch q.verb {
	case "create", "update", "patch":
		q.metrics.validated.Get(validationLabel(q.query["fieldValidation"]), newService).Took(took)
	}
}

// aborted counts a request whose answer is cut off.
func (q *request) aborted() {
	_, key := q.stats()
	k := cutOff{target: q.target(key.verb), scope: key.scope}
	if q.kind != nil {
		k.version = q.kind.row.Version
	}
	q.metrics.cutOff.Get(k, newCount).Add(1)
}

// sized counts the body of a write.
func (q *request) sized(n int64) {
	of := q.target(q.verb)
	of.subresource = "" // which upstream does not tell apart
	q.metrics.bodies.Get(of, newBodies).Add(n)
}

// begun counts a request that is long by nature; it is over when the returned
// function was called.
func (q *request) begun() func() {
	st, key := q.stats()
	key.dryRun = "" // here it makes no difference
	if q.single {
		key.scope = "resource"
	}
	s := st.manner(key)
	s.under.Add(1)
	s.long.Store(true)
	return func() { s.under.Add(-1) }
}

// verbLabel is the verb as upstream's metrics write it.
func (q *request) verbLabel() string {
	switch q.subresource {
	case "exec", "attach", "portforward", "proxy", "log":
		return "CONNECT"
	}
	switch q.verb {
	case "list":
		return "LIST"
	case "watch":
		return "WATCH"
	case "patch":
		if strings.HasPrefix(q.r.Header.Get("Content-Type"), "application/apply-patch+") {
			return "APPLY"
		}
	}
	return methodLabel(q.r.Method)
}

// validationLabel is how strict a write wants unknown fields to be looked at.
func validationLabel(values []string) string {
	if len(values) == 0 {
		return ""
	}
	if _, err := scheme.ParseValidation(values[0]); err != nil || len(values) > 1 {
		return "invalid"
	}
	return values[0]
}

// dryRunLabel is whether a request says it is to be tried only.
func dryRunLabel(values []string) string {
	for _, v := range values {
		if v != "All" {
			return "invalid"
		}
	}
	if len(values) > 0 {
		return "All"
	}
	return ""
}

func methodLabel(method string) string {
	switch method {
	case http.MethodHead:
		return http.MethodGet
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return method
	}
	return "other"
}

func (q *request) scopeLabel() string {
	switch {
	case q.name != "" || q.verb == "create":
		return "resource"
	case q.namespace != "":
		return "namespace"
	}
	return "cluster"
}

// pathLabel is a path as metrics name it, which are as few as there are
// handlers, whatever clients ask for.
func pathLabel(path string) string {
	first, rest, more := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "healthz", "livez", "readyz", "metrics", "version":
		return "/" + first
	case "api", "apis", "debug", ".well-known", "openid":
		return first
	case "openapi":
		switch {
		case rest == "v2", rest == "v3":
			return "openapi/" + rest
		case more:
			return "openapi/v3/"
		}
	case "":
		return "/"
	}
	return ""
}
