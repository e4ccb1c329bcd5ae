package server

import (
	"net/http"

	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Probes are those of one type that were made of a container.
type Probes struct {
	Ref       PodRef
	Container string
	Type      string // Startup, Liveness, Readiness
	// Successful, Failed and Unknown count what became of them.
	Successful, Failed, Unknown uint64
	Took                        *measure.Histogram
}

// ProbeBounds are those of Probes.Took, in seconds.
var ProbeBounds = prometheus.DefBuckets // never changed

// newProbeMetrics returns what serves upstream's metrics of probes.
func newProbeMetrics(n Node) http.Handler {
	of := []string{"probe_type", "container", "pod", "namespace"}
	total := prometheus.NewDesc("prober_probe_total", "Cumulative number of a liveness, readiness or startup probe for a container by result.", append([]string{"result", "pod_uid"}, of...), nil)
	took := prometheus.NewDesc("prober_probe_duration_seconds", "Duration in seconds for a probe response.", of, nil)
	reg := prometheus.NewRegistry()
	reg.MustRegister(measure.Collector(func(out measure.Out) {
		for _, p := range n.Probes() {
			labels := []string{p.Type, p.Container, p.Ref.Name, p.Ref.Namespace}
			count := func(result string, n uint64) {
				out.Happened(total, n, append([]string{result, p.Ref.UID}, labels...)...)
			}
			count("successful", p.Successful)
			count("failed", p.Failed)
			count("unknown", p.Unknown)
			out.Histogram(took, p.Took, labels...)
		}
	}))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}
