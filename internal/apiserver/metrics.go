package apiserver

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are upstream's names, on a registry of the server's own.
type metrics struct {
	registry *prometheus.Registry
	handler  http.Handler
	total    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// kindMetrics are the series of one kind, looked up once.
type kindMetrics struct {
	series sync.Map // of seriesKey to *series
}

type seriesKey struct {
	verb, subresource string
	code              int
}

type series struct {
	total   prometheus.Counter
	seconds prometheus.Observer // nil for requests that are long by nature
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_request_total",
			Help: "Counter of apiserver requests broken out for each verb, group, version, resource, subresource and HTTP response code.",
		}, []string{"verb", "group", "version", "resource", "subresource", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "apiserver_request_duration_seconds",
			Help:    "Response latency distribution in seconds for each verb, group, version, resource and subresource.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60},
		}, []string{"verb", "group", "version", "resource", "subresource"}),
	}
	m.registry.MustRegister(m.total, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// Registry is where other parts of the server's process put their metrics.
func (s *Server) Registry() *prometheus.Registry { return s.metrics.registry }

// gauges registers what is counted elsewhere and only read here.
func (s *Server) gauges() {
	reg := s.metrics.registry
	for kind, n := range map[string]interface{ Load() int64 }{"readOnly": &s.inflight.reads, "mutating": &s.inflight.writes} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apiserver_current_inflight_requests", Help: "Number of requests under way, by kind.",
			ConstLabels: prometheus.Labels{"request_kind": kind},
		}, func() float64 { return float64(n.Load()) }))
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "apiserver_longrunning_requests", Help: "Number of watches and other long requests under way.",
	}, func() float64 { return float64(s.inflight.long.Load()) }), objects{s}, s.fairness.Collector())
}

// objects counts stored objects when asked.
type objects struct{ s *Server }

var objectsDesc = prometheus.NewDesc("apiserver_storage_objects", "Number of stored objects, by kind.", []string{"resource"}, nil)

func (o objects) Describe(ch chan<- *prometheus.Desc) { ch <- objectsDesc }

func (o objects) Collect(ch chan<- prometheus.Metric) {
	for gr, k := range o.s.byName {
		if k.cache != nil {
			ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(k.cache.Len()), gr.String())
		}
	}
}

// observe counts a request of a kind.
func (q *request) observe() {
	code := q.code
	if code == 0 {
		return // a Connector's answer
	}
	key := seriesKey{q.verb, q.subresource, code}
	v, ok := q.kind.stats.series.Load(key)
	if !ok {
		row := q.kind.row
		sub := ""
		if row.Subresource(q.subresource) != nil {
			sub = q.subresource // never what a client made up
		}
		n := &series{total: q.metrics.total.WithLabelValues(verbLabel(q.verb), row.Group, row.Version, row.Name, sub, strconv.Itoa(code))}
		if !q.long() {
			n.seconds = q.metrics.seconds.WithLabelValues(verbLabel(q.verb), row.Group, row.Version, row.Name, sub)
		}
		key.subresource = sub
		v, _ = q.kind.stats.series.LoadOrStore(key, n)
	}
	s := v.(*series)
	s.total.Inc()
	if s.seconds != nil {
		s.seconds.Observe(q.Clock.Since(q.start).Seconds())
	}
}

// verbLabel is the verb as upstream's metrics write it.
func verbLabel(verb string) string {
	switch verb {
	case "get":
		return "GET"
	case "list":
		return "LIST"
	case "watch":
		return "WATCH"
	case "create":
		return "POST"
	case "update":
		return "PUT"
	case "patch":
		return "PATCH"
	case "delete":
		return "DELETE"
	case "deletecollection":
		return "DELETECOLLECTION"
	}
	return "other"
}
