package apiserver

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"clipper/internal/measure"
	"clipper/internal/scheme"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// metrics are upstream's names, on a registry of the server's own. Requests are
// counted in stats, and metrics made of them when they are asked for.
type metrics struct {
	registry *prometheus.Registry
	handler  http.Handler
	// slis serves /metrics/slis once somebody asked for it.
	slis     http.Handler
	slisOnce sync.Once

	guards     *guards
	expiry     *measure.Histogram // of clients' certificates
	handshakes atomic.Uint64      // that failed
	bodies     measure.Set[target, measure.Histogram]
	validated  measure.Set[string, measure.Histogram] // writes, by their fieldValidation
	own        measure.Set[target, atomic.Uint64]     // requests of the server itself
	cutOff     measure.Set[cutOff, atomic.Uint64]
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), guards: newGuards(), expiry: measure.Seconds(expiryBounds)}
	m.registry.MustRegister(measure.Process())
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// Registry is where other parts of the server's process put their metrics.
func (s *Server) Registry() *prometheus.Registry { return s.metrics.registry }

// described are the metrics that are made of what the server counts.
type described struct {
	total, took, service, answers, under, terminated *prometheus.Desc
	cutOff, own, bodies, validated, deprecated       *prometheus.Desc
	events, eventSizes, listed                       *prometheus.Desc
	current, queued, build                           *prometheus.Desc
	authenticated, authentication, users             *prometheus.Desc
	authorized, authorization, filters               *prometheus.Desc
	expiry, handshakes                               *prometheus.Desc
	unavailable                                      *prometheus.Desc
}

func describe() *described {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	of := []string{"verb", "group", "version", "resource", "subresource", "scope", "component"}
	with := func(more ...string) []string { return append(of[:len(of):len(of)], more...) }
	return &described{
		total:      d("apiserver_request_total", "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.", with("dry_run", "code")...),
		took:       d("apiserver_request_duration_seconds", "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.", with("dry_run")...),
		service:    d("apiserver_request_sli_duration_seconds", "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.", of...),
		answers:    d("apiserver_response_sizes", "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.", of...),
		under:      d("apiserver_longrunning_requests", "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.", of...),
		terminated: d("apiserver_request_terminations_total", "Number of requests which apiserver terminated in self-defense.", with("code")...),
		cutOff:     d("apiserver_request_aborts_total", "Number of requests which apiserver aborted possibly due to a timeout, for each group, version, verb, resource, subresource and scope", of[:len(of)-1]...),
		own:        d("apiserver_selfrequest_total", "Counter of apiserver self-requests broken out for each verb, API resource and subresource.", "verb", "group", "resource", "subresource"),
		bodies:     d("apiserver_request_body_size_bytes", "Apiserver request body size in bytes broken out by resource and verb.", "group", "resource", "verb"),
		validated:  d("field_validation_request_duration_seconds", "Response latency distribution in seconds for each field validation value", "field_validation"),
		deprecated: d("apiserver_requested_deprecated_apis", "Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.", "group", "version", "resource", "subresource", "removed_release"),
		events:     d("apiserver_watch_events_total", "Number of events sent in watch clients", "group", "version", "resource"),
		eventSizes: d("apiserver_watch_events_sizes", "Watch event size distribution in bytes", "group", "version", "resource"),
		listed:     d("apiserver_watch_list_duration_seconds", "Response latency distribution in seconds for watch list requests broken by group, version, resource and scope.", "group", "version", "resource", "scope"),
		current:    d("apiserver_current_inflight_requests", "Number of currently used inflight request limit of this apiserver per request kind.", "request_kind"),
		queued:     d("apiserver_current_inqueue_requests", "Number of queued requests in this apiserver per request kind.", "request_kind"),
		build:      d("kubernetes_build_info", "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.", "major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform"),

		authenticated:  d("authentication_attempts", "Counter of authenticated attempts.", "result"),
		authentication: d("authentication_duration_seconds", "Authentication duration in seconds broken out by result.", "result"),
		users:          d("authenticated_user_requests", "Counter of authenticated requests broken out by username.", "username"),
		authorized:     d("authorization_attempts_total", "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.", "result"),
		authorization:  d("authorization_duration_seconds", "Authorization duration in seconds broken out by result.", "result"),
		filters:        d("apiserver_request_filter_duration_seconds", "Request filter latency distribution in seconds, for each filter type", "filter"),
		expiry:         d("apiserver_client_certificate_expiration_seconds", "Distribution of the remaining lifetime on the certificate used to authenticate a request."),
		handshakes:     d("apiserver_tls_handshake_errors_total", "Number of requests dropped with 'TLS handshake error from' error"),
		unavailable:    d("aggregator_unavailable_apiservice", "Gauge of APIServices which are marked as unavailable broken down by APIService name.", "name"),
	}
}

// collector makes the metrics of what the server counts.
type collector struct {
	*Server
	*described
	measure.Out // of one collection
}

func (s *Server) collector() prometheus.Collector {
	d := describe()
	return measure.Collector(func(out measure.Out) { collector{s, d, out}.collect() })
}

func (c collector) collect() {
	// Who waits is counted as under way, too, and may have left in between.
	under := &c.Server.inflight
	reads, writes := c.Server.fairness.Waiting()
	c.Gauge(c.current, float64(max(0, under.reads.Load()-int64(reads))), "readOnly")
	c.Gauge(c.current, float64(max(0, under.writes.Load()-int64(writes))), "mutating")
	c.Gauge(c.queued, float64(reads), "readOnly")
	c.Gauge(c.queued, float64(writes), "mutating")
	v := c.Version
	c.Gauge(c.build, 1, v.Major, v.Minor, v.GitVersion, v.GitCommit, v.GitTreeState, v.BuildDate, v.GoVersion, v.Compiler, v.Platform)
	c.onTheWay()
	m := c.metrics
	for k, h := range m.bodies.All() {
		verb := k.verb
		if verb == "deletecollection" {
			verb = "delete_collection"
		}
		c.Histogram(c.bodies, h, k.group, k.resource, verb)
	}
	for value, h := range m.validated.All() {
		c.Histogram(c.described.validated, h, value)
	}
	for k, n := range m.own.All() {
		c.Counter(c.own, n.Load(), k.verb, k.group, k.resource, k.subresource)
	}
	for k, n := range m.cutOff.All() {
		c.Counter(c.cutOff, n.Load(), k.verb, k.group, k.version, k.resource, k.subresource, k.scope)
	}
	c.requests(&c.paths, &scheme.Resource{})
	for row, k := range c.kinds {
		c.requests(&k.stats, row)
		if e := k.stats.events; e != nil && c.Histogram(c.eventSizes, e, row.Group, row.Version, row.Name) {
			c.Counter(c.events, e.Count(), row.Group, row.Version, row.Name)
		}
	}
	c.aggregated()
}

// onTheWay are the metrics of what requests pass before they are handled.
func (c collector) onTheWay() {
	g := c.metrics.guards
	for i, h := range g.authentication {
		c.Happened(c.described.authenticated, h.Count(), identifications[i])
		c.Coarser(c.authentication, guardBounds, h, identifications[i])
	}
	for i, h := range g.authorization {
		c.Happened(c.authorized, h.Count(), decisions[i])
		c.Coarser(c.described.authorization, guardBounds, h, decisions[i])
	}
	for i, name := range userLabels() {
		c.Happened(c.users, g.users[i].Load(), name)
	}
	filter := func(name string, all ...*measure.Histogram) {
		c.Coarser(c.filters, filterBounds, measure.Together(all...), name)
	}
	filter("authentication", g.authentication[:]...)
	filter("authorization", g.authorization[:]...)
	filter("priorityandfairness", g.fairness)
	c.Always(c.expiry, c.metrics.expiry)
	c.Counter(c.handshakes, c.metrics.handshakes.Load())
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
	old := map[string]bool{} // subresources of a deprecated kind that were asked for
	for _, v := range s.series.All() {
		code, n := strconv.Itoa(v.code), v.total.Load()
		c.Counter(c.total, n, labels(&v.manner.mannerKey, v.manner.dryRun, code)...)
		// Dry runs are not told apart where upstream does not.
		if (v.code == http.StatusTooManyRequests || v.code == http.StatusGatewayTimeout) && v.manner.dryRun == "" {
			c.Counter(c.terminated, n, labels(&v.manner.mannerKey, code)...)
		}
		old[v.manner.subresource] = true
	}
	if row.Name != "" && c.kinds[row].deprecated != "" {
		for subresource := range old {
			c.Gauge(c.deprecated, 1, row.Group, row.Version, row.Name, subresource, removal(row.New()))
		}
	}
	for _, v := range s.manners.All() {
		if v.long.Load() {
			c.Gauge(c.under, float64(v.under.Load()), labels(&v.mannerKey)...)
		}
		if v.listed != nil {
			c.Histogram(c.listed, v.listed, row.Group, row.Version, row.Name, v.scope)
		}
		if c.Histogram(c.took, v.took, labels(&v.mannerKey, v.dryRun)...) && v.dryRun == "" {
			if v.verb != "WATCH" {
				c.Coarser(c.service, serviceBounds, v.took, labels(&v.mannerKey)...)
			}
			c.Histogram(c.answers, v.answers, labels(&v.mannerKey)...)
		}
	}
}

// aggregated tells which APIServices have nobody behind them.
func (c collector) aggregated() {
	for _, o := range c.cache.Objects(schema.GroupResource{Group: apiregistrationv1.GroupName, Resource: "apiservices"}, "") {
		a := o.(*apiregistrationv1.APIService)
		down := 0.0
		for _, condition := range a.Status.Conditions {
			if condition.Type == apiregistrationv1.Available && condition.Status == apiregistrationv1.ConditionFalse {
				down = 1
			}
		}
		c.Gauge(c.unavailable, down, a.Name)
	}
}
