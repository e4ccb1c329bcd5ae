package measure

import "github.com/prometheus/client_golang/prometheus"

// Out takes one collection's metrics.
type Out func(prometheus.Metric)

// Gauge puts out what something is now.
func (o Out) Gauge(d *prometheus.Desc, v float64, labels ...string) {
	o(prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
}

// Counter puts out how often something has happened.
func (o Out) Counter(d *prometheus.Desc, n uint64, labels ...string) {
	o(prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...))
}

// Happened is Counter for what is told only once it has happened.
func (o Out) Happened(d *prometheus.Desc, n uint64, labels ...string) {
	if n > 0 {
		o.Counter(d, n, labels...)
	}
}

// Histogram puts out a histogram that has anything in it, and tells whether it
// has.
func (o Out) Histogram(d *prometheus.Desc, h *Histogram, labels ...string) bool {
	return o.Coarser(d, h.bounds, h, labels...)
}

// Always is Histogram for what is told even before there is anything in it.
func (o Out) Always(d *prometheus.Desc, h *Histogram, labels ...string) {
	cumulative, n, sum := h.within(h.bounds)
	o(prometheus.MustNewConstHistogram(d, n, sum, cumulative, labels...))
}

// Coarser is Histogram with some of its bounds.
func (o Out) Coarser(d *prometheus.Desc, bounds []float64, h *Histogram, labels ...string) bool {
	cumulative, n, sum := h.within(bounds)
	if n > 0 {
		o(prometheus.MustNewConstHistogram(d, n, sum, cumulative, labels...))
	}
	return n > 0
}

// Collector makes a collector of what puts out all metrics of something.
func Collector(collect func(Out)) prometheus.Collector { return collector(collect) }

type collector func(Out)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	c(func(m prometheus.Metric) { ch <- m })
}
