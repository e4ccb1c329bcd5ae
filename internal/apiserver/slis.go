package apiserver

import (
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// slis makes the metrics of health checks, as KEP-3466 has them. A check runs
// when it is asked for, so a scrape is what is counted.
type slis struct {
	s            *Server
	mu           sync.Mutex
	ran          map[sli]uint64
	state, total *prometheus.Desc
}

type sli struct{ name, kind, status string }

// slisHandler serves /metrics/slis.
func (s *Server) slisHandler() http.Handler {
	s.metrics.slisOnce.Do(func() { s.metrics.slis = newSLIs(s) })
	return s.metrics.slis
}

func newSLIs(s *Server) http.Handler {
	c := &slis{
		s: s, ran: map[sli]uint64{},
		state: prometheus.NewDesc("kubernetes_healthcheck", "This metric records the result of a single healthcheck.", []string{"name", "type"}, nil),
		total: prometheus.NewDesc("kubernetes_healthchecks_total", "This metric records the results of all healthcheck.", []string{"name", "status", "type"}, nil),
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

func (c *slis) Describe(ch chan<- *prometheus.Desc) { ch <- c.state; ch <- c.total }

func (c *slis) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range []string{"healthz", "livez", "readyz"} {
		for _, check := range c.s.checks(kind) {
			state, status := 1.0, "success"
			if check.run() != nil {
				state, status = 0, "error"
			}
			c.ran[sli{check.name, kind, status}]++
			ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, state, check.name, kind)
		}
	}
	for k, n := range c.ran {
		ch <- prometheus.MustNewConstMetric(c.total, prometheus.CounterValue, float64(n), k.name, k.status, k.kind)
	}
}
