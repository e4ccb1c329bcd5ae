package fairness

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are what is known of one flow's requests.
type counts struct{ *counters }

type counters struct {
	running, seats        int
	waiting, waitingSeats int
	dispatched, cancelled uint64
	rejected              [3]uint64 // in the order of reasons
	waits, took           histogram
}

var reasons = [3]*Rejected{errFull, errLimit, errTimeout}

func (c *counters) reject(why *Rejected) {
	for i, r := range reasons {
		if r == why {
			c.rejected[i]++
		}
	}
}

// bounds are upstream's, in seconds.
var bounds = [...]float64{0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30}

type histogram struct {
	buckets [len(bounds) + 1]uint64
	sum     time.Duration
}

func (h *histogram) observe(d time.Duration) {
	s, i := d.Seconds(), 0
	for i < len(bounds) && s > bounds[i] {
		i++
	}
	h.buckets[i]++
	h.sum += d
}

func (h *histogram) metric(desc *prometheus.Desc, labels ...string) prometheus.Metric {
	cumulative, n := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, b := range bounds {
		n += h.buckets[i]
		cumulative[b] = n
	}
	return prometheus.MustNewConstHistogram(desc, n+h.buckets[len(bounds)], h.sum.Seconds(), cumulative, labels...)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("apiserver_flowcontrol_"+name, help, labels, nil)
}

// Collector returns the metrics of the dispatcher, with upstream's names; they
// are put together when they are asked for.
func (d *Dispatcher) Collector() prometheus.Collector {
	const flows, levels = "flow_schema", "priority_level"
	return &collector{
		d:          d,
		dispatched: desc("dispatched_requests_total", "Number of requests executed by API Priority and Fairness subsystem", levels, flows),
		rejected:   desc("rejected_requests_total", "Number of requests rejected by API Priority and Fairness subsystem", levels, flows, "reason"),
		inQueue:    desc("current_inqueue_requests", "Number of requests currently pending in queues of the API Priority and Fairness subsystem", levels, flows),
		inQueueS:   desc("current_inqueue_seats", "Number of seats currently pending in queues of the API Priority and Fairness subsystem", levels, flows),
		running:    desc("current_executing_requests", "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem", levels, flows),
		runningS:   desc("current_executing_seats", "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem", levels, flows),
		waits:      desc("request_wait_duration_seconds", "Length of time a request spent waiting in its queue", levels, flows, "execute"),
		took:       desc("request_execution_seconds", "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem", levels, flows, "type"),
		nominal:    desc("nominal_limit_seats", "Nominal number of execution seats configured for each priority level", levels),
		lower:      desc("lower_limit_seats", "Configured lower bound on number of execution seats available to each priority level", levels),
		upper:      desc("upper_limit_seats", "Configured upper bound on number of execution seats available to each priority level", levels),
		current:    desc("current_limit_seats", "current derived number of execution seats available to each priority level", levels),
	}
}

type collector struct {
	d                                                          *Dispatcher
	dispatched, rejected, inQueue, inQueueS, running, runningS *prometheus.Desc
	waits, took, nominal, lower, upper, current                *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.collect() {
		ch <- m
	}
}

// collect makes the metrics under the lock, but sends none there.
func (c *collector) collect() (out []prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...))
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...))
	}
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	for _, l := range c.d.levels {
		gauge(c.nominal, l.nominal, l.name)
		gauge(c.lower, l.guaranteed(), l.name)
		gauge(c.upper, min(l.most, l.nominal+c.d.config.Seats), l.name)
		free := max(0, c.d.pool-c.d.used)
		gauge(c.current, min(l.most, l.guaranteed()+l.pooled()+free), l.name)
	}
	for _, f := range c.d.flows {
		l := f.level.name
		if f.dispatched > 0 {
			counter(c.dispatched, f.dispatched, l, f.name)
			out = append(out, f.waits.metric(c.waits, l, f.name, "true"), f.took.metric(c.took, l, f.name, "regular"))
		}
		for i, n := range f.rejected {
			if n > 0 {
				counter(c.rejected, n, l, f.name, reasons[i].Reason)
			}
		}
		if f.cancelled > 0 {
			counter(c.rejected, f.cancelled, l, f.name, "cancelled")
		}
		gauge(c.running, f.running, l, f.name)
		gauge(c.runningS, f.seats, l, f.name)
		gauge(c.inQueue, f.waiting, l, f.name)
		gauge(c.inQueueS, f.waitingSeats, l, f.name)
	}
	return out
}
