package apiserver

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of histograms, which are upstream's.
var (
	secondsBounds = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}
	sizeBounds    = []float64{1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}
	eventBounds   = []float64{1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17}
	expiryBounds  = []float64{0, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000}
)

// histogram counts without a lock. Its sum is in the smallest unit: nanoseconds
// or bytes.
type histogram struct {
	bounds []float64
	counts []atomic.Uint64 // one more than bounds
	sum    atomic.Int64
}

func newHistogram(bounds []float64) histogram {
	return histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// bucket is where a value is counted.
func bucket(bounds []float64, v float64) int {
	i := 0
	for i < len(bounds) && v > bounds[i] {
		i++
	}
	return i
}

func (h *histogram) seconds(d time.Duration) {
	h.counts[bucket(h.bounds, d.Seconds())].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) bytes(n int64) {
	h.counts[bucket(h.bounds, float64(n))].Add(1)
	h.sum.Add(n)
}

// stats are the counters of one kind, or of all paths that are no kind's. They
// are looked up without a lock and made when they are first needed.
type stats struct {
	mu      sync.Mutex
	series  atomic.Pointer[map[seriesKey]*series]
	manners atomic.Pointer[map[mannerKey]*manner]

	events histogram // of watches; without bounds for what is not watched
}

// mannerKey is what requests of a kind are told apart by, besides their answers.
type mannerKey struct{ verb, subresource, scope, dryRun string }

type manner struct {
	mannerKey
	under   atomic.Int64 // way, of those that are long by nature
	took    histogram
	answers histogram // sizes
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

func (s *stats) manner(key mannerKey) *manner {
	if m := s.manners.Load(); m != nil {
		if v := (*m)[key]; v != nil {
			return v
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return put(&s.manners, key, func() *manner {
		return &manner{mannerKey: key, took: newHistogram(secondsBounds), answers: newHistogram(sizeBounds)}
	})
}

func (s *stats) of(key seriesKey) *series {
	if m := s.series.Load(); m != nil {
		if v := (*m)[key]; v != nil {
			return v
		}
	}
	m := s.manner(key.mannerKey)
	s.mu.Lock()
	defer s.mu.Unlock()
	return put(&s.series, key, func() *series { return &series{manner: m, code: key.code} })
}

// put adds what is missing to a copy of the map, under the lock of the stats.
func put[K comparable, V any](p *atomic.Pointer[map[K]*V], key K, make func() *V) *V {
	old := map[K]*V{}
	if m := p.Load(); m != nil {
		old = *m
	}
	if v := old[key]; v != nil {
		return v
	}
	m, v := maps.Clone(old), make()
	m[key] = v
	p.Store(&m)
	return v
}

// stats returns what counts the request, and as what.
func (q *request) stats() (*stats, mannerKey) {
	if q.kind == nil {
		return &q.paths, mannerKey{verb: methodLabel(q.r.Method), subresource: pathLabel(q.r.URL.Path)}
	}
	key := mannerKey{verb: q.verbLabel(), scope: q.scopeLabel()}
	if q.kind.row.Subresource(q.subresource) != nil {
		key.subresource = q.subresource // never what a client made up
	}
	if q.query.Get("dryRun") == "All" {
		key.dryRun = "All"
	}
	return &q.kind.stats, key
}

// observe counts a request that is over.
func (q *request) observe(now time.Time) {
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
	if q.long() {
		return
	}
	s.manner.took.seconds(now.Sub(q.start))
	if q.sent > 0 {
		s.manner.answers.bytes(q.sent)
	}
}

// begun counts a request that is long by nature; it is over when the returned
// function was called.
func (q *request) begun() func() {
	st, key := q.stats()
	s := st.manner(key)
	s.under.Add(1)
	return func() { s.under.Add(-1) }
}

// verbLabel is the verb as upstream's metrics write it.
func (q *request) verbLabel() string {
	switch q.subresource {
	case "exec", "attach", "portforward", "proxy":
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

func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodHead:
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
