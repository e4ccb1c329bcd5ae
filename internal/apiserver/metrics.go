package apiserver

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"clipper/internal/scheme"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are upstream's names, on a registry of the server's own. Requests are
// counted in stats, and metrics made of them when they are asked for.
type metrics struct {
	registry *prometheus.Registry
	handler  http.Handler
	// slis serves /metrics/slis once somebody asked for it.
	slis     http.Handler
	slisOnce sync.Once

	authenticated, unauthenticated atomic.Uint64
	allowed, denied                atomic.Uint64
	expiry                         histogram // of clients' certificates
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), expiry: newHistogram(expiryBounds)}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// Registry is where other parts of the server's process put their metrics.
func (s *Server) Registry() *prometheus.Registry { return s.metrics.registry }

// described are the metrics that requests are told in.
type described struct {
	total, took, service, answers, under, terminated *prometheus.Desc
	events, eventSizes                               *prometheus.Desc
	objects, resources                               *prometheus.Desc
	current, build                                   *prometheus.Desc
	authenticated, authorized, expiry                *prometheus.Desc
	size                                             *prometheus.Desc
}

func describe() *described {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	of := []string{"verb", "group", "version", "resource", "subresource", "scope", "component"}
	with := func(more ...string) []string { return append(of[:len(of):len(of)], more...) }
	return &described{
		total:         d("apiserver_request_total", "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.", with("dry_run", "code")...),
		took:          d("apiserver_request_duration_seconds", "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.", with("dry_run")...),
		service:       d("apiserver_request_sli_duration_seconds", "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.", of...),
		answers:       d("apiserver_response_sizes", "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.", of...),
		under:         d("apiserver_longrunning_requests", "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.", of...),
		terminated:    d("apiserver_request_terminations_total", "Number of requests which apiserver terminated in self-defense.", with("code")...),
		events:        d("apiserver_watch_events_total", "Number of events sent in watch clients", "group", "version", "resource"),
		eventSizes:    d("apiserver_watch_events_sizes", "Watch event size distribution in bytes", "group", "version", "resource"),
		objects:       d("apiserver_storage_objects", "Number of stored objects split by kind.", "resource"),
		resources:     d("apiserver_resource_objects", "Number of stored objects split by kind.", "group", "resource"),
		current:       d("apiserver_current_inflight_requests", "Number of currently used inflight request limit of this apiserver per request kind.", "request_kind"),
		build:         d("kubernetes_build_info", "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.", "major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform"),
		authenticated: d("authentication_attempts", "Counter of authenticated attempts.", "result"),
		authorized:    d("authorization_attempts_total", "Counter of authorization attempts broken down by result.", "result"),
		expiry:        d("apiserver_client_certificate_expiration_seconds", "Distribution of the remaining lifetime on the certificate used to authenticate a request."),
		size:          d("apiserver_storage_size_bytes", "Size of the storage database file physically allocated in bytes.", "storage_cluster_id"),
	}
}

// collector makes the metrics of what the server counts.
type collector struct {
	*Server
	*described
	ch chan<- prometheus.Metric // of one collection
}

func (s *Server) collector() prometheus.Collector { return collector{Server: s, described: describe()} }

func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.ch = ch
	c.gauge(c.current, float64(c.Server.inflight.reads.Load()), "readOnly")
	c.gauge(c.current, float64(c.Server.inflight.writes.Load()), "mutating")
	v := c.Version
	c.gauge(c.build, 1, v.Major, v.Minor, v.GitVersion, v.GitCommit, v.GitTreeState, v.BuildDate, v.GoVersion, v.Compiler, v.Platform)
	m := c.metrics
	c.counter(c.described.authenticated, m.authenticated.Load(), "success")
	c.counter(c.described.authenticated, m.unauthenticated.Load(), "failure")
	c.counter(c.authorized, m.allowed.Load(), "allowed")
	c.counter(c.authorized, m.denied.Load(), "denied")
	c.histogram(c.expiry, &m.expiry, float64(time.Second))
	if s, ok := c.Store.(interface{ Size() int64 }); ok {
		c.gauge(c.size, float64(s.Size()), "0")
	}
	c.requests(&c.paths, &scheme.Resource{})
	for row, k := range c.kinds {
		c.requests(&k.stats, row)
		if e := &k.stats.events; e.bounds != nil {
			n := uint64(0)
			for i := range e.counts {
				n += e.counts[i].Load()
			}
			if n > 0 {
				c.counter(c.events, n, row.Group, row.Version, row.Name)
				c.histogram(c.eventSizes, e, 1, row.Group, row.Version, row.Name)
			}
		}
		if k.cache != nil && row.Stored == row {
			n := float64(k.cache.Len())
			c.gauge(c.objects, n, row.GroupResource().String())
			c.gauge(c.resources, n, row.Group, row.Name)
		}
	}
}

// requests are those of one kind, or of no kind.
func (c collector) requests(s *stats, row *scheme.Resource) {
	labels := func(k *mannerKey, more ...string) []string {
		component := "apiserver"
		if row.Name == "" && k.subresource != "api" && k.subresource != "apis" {
			component = ""
		}
		return append([]string{k.verb, row.Group, row.Version, row.Name, k.subresource, k.scope, component}, more...)
	}
	if m := s.series.Load(); m != nil {
		for _, v := range *m {
			code, n := strconv.Itoa(v.code), v.total.Load()
			c.counter(c.total, n, labels(&v.manner.mannerKey, v.manner.dryRun, code)...)
			// Dry runs are not told apart where upstream does not.
			if (v.code == http.StatusTooManyRequests || v.code == http.StatusGatewayTimeout) && v.manner.dryRun == "" {
				c.counter(c.terminated, n, labels(&v.manner.mannerKey, code)...)
			}
		}
	}
	m := s.manners.Load()
	if m == nil {
		return
	}
	for _, v := range *m {
		if n := v.under.Load(); n > 0 {
			c.gauge(c.under, float64(n), labels(&v.mannerKey)...)
		}
		if c.histogram(c.took, &v.took, float64(time.Second), labels(&v.mannerKey, v.dryRun)...) && v.dryRun == "" {
			c.histogram(c.service, &v.took, float64(time.Second), labels(&v.mannerKey)...)
			c.histogram(c.answers, &v.answers, 1, labels(&v.mannerKey)...)
		}
	}
}

func (c collector) gauge(d *prometheus.Desc, v float64, labels ...string) {
	c.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (c collector) counter(d *prometheus.Desc, v uint64, labels ...string) {
	c.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// histogram tells whether there was anything in it.
func (c collector) histogram(d *prometheus.Desc, h *histogram, unit float64, labels ...string) bool {
	cumulative, n := make(map[float64]uint64, len(h.bounds)), uint64(0)
	for i, b := range h.bounds {
		n += h.counts[i].Load()
		cumulative[b] = n
	}
	n += h.counts[len(h.bounds)].Load()
	if n > 0 {
		c.ch <- prometheus.MustNewConstHistogram(d, n, float64(h.sum.Load())/unit, cumulative, labels...)
	}
	return n > 0
}
