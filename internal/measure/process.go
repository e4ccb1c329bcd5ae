package measure

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Process returns upstream's metrics of the process and of Go's runtime. What
// tells them is made when they are first asked for: it takes a millisecond, which
// a start is better without.
func Process() prometheus.Collector { return &process{} }

type process struct {
	once sync.Once
	of   []prometheus.Collector
}

// Describe implements prometheus.Collector. It tells nothing ahead.
func (p *process) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p *process) Collect(ch chan<- prometheus.Metric) {
	p.once.Do(func() {
		p.of = []prometheus.Collector{
			collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		}
	})
	for _, c := range p.of {
		c.Collect(ch)
	}
}
