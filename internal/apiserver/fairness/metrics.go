package fairness

import (
	"time"

	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are what is known of one flow's requests.
type counts struct{ *counters }

type counters struct {
	running, seats        int
	waiting, waitingSeats int
	dispatched, cancelled uint64
	rejected              [3]uint64 // in the order of reasons
	unfit                 uint64    // times that there was no seat for one whose turn it was
	// waits are those of requests that got a seat, refused of those that got none.
	waits, refused, took *measure.Histogram
	width                *measure.Histogram // seats
	lengths              *measure.Histogram // of queues, with who came last
}

// Bounds, which are upstream's; durations in seconds.
var (
	durations = []float64{0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30}
	widths    = []float64{1, 2, 4, 8, 16, 32, 64, 100}
	lengths   = []float64{0, 10, 25, 50, 100, 250, 500, 1000}
)

func newCounters() *counters {
	return &counters{
		waits: measure.Seconds(durations), refused: measure.Seconds(durations), took: measure.Seconds(durations),
		width: measure.Sizes(widths), lengths: measure.Sizes(lengths),
	}
}

var reasons = [3]*Rejected{errFull, errLimit, errTimeout}

func (c *counters) reject(why *Rejected, after time.Duration) {
	for i, r := range reasons {
		if r == why {
			c.rejected[i]++
		}
	}
	c.refused.Took(after)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("apiserver_flowcontrol_"+name, help, labels, nil)
}

// described are the metrics, with upstream's names.
type described struct {
	dispatched, rejected, inQueue, inQueueS, running, runningS *prometheus.Desc
	waits, took, width, lengths, unfit                         *prometheus.Desc
	nominal, lower, upper, current                             *prometheus.Desc
}

// Collector returns the metrics of the dispatcher; they are put together when
// they are asked for.
func (d *Dispatcher) Collector() prometheus.Collector {
	const flows, levels = "flow_schema", "priority_level"
	m := &described{
		dispatched: desc("dispatched_requests_total", "Number of requests executed by API Priority and Fairness subsystem", levels, flows),
		rejected:   desc("rejected_requests_total", "Number of requests rejected by API Priority and Fairness subsystem", levels, flows, "reason"),
		inQueue:    desc("current_inqueue_requests", "Number of requests currently pending in queues of the API Priority and Fairness subsystem", levels, flows),
		inQueueS:   desc("current_inqueue_seats", "Number of seats currently pending in queues of the API Priority and Fairness subsystem", levels, flows),
		running:    desc("current_executing_requests", "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem", levels, flows),
		runningS:   desc("current_executing_seats", "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem", levels, flows),
		waits:      desc("request_wait_duration_seconds", "Length of time a request spent waiting in its queue", levels, flows, "execute"),
		took:       desc("request_execution_seconds", "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem", levels, flows, "type"),
		width:      desc("work_estimated_seats", "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness", levels, flows),
		lengths:    desc("request_queue_length_after_enqueue", "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued", levels, flows),
		unfit:      desc("request_dispatch_no_accommodation_total", "Number of times a dispatch attempt resulted in a non accommodation due to lack of available seats", levels, flows),
		nominal:    desc("nominal_limit_seats", "Nominal number of execution seats configured for each priority level", levels),
		lower:      desc("lower_limit_seats", "Configured lower bound on number of execution seats available to each priority level", levels),
		upper:      desc("upper_limit_seats", "Configured upper bound on number of execution seats available to each priority level", levels),
		current:    desc("current_limit_seats", "current derived number of execution seats available to each priority level", levels),
	}
	return measure.Collector(func(out measure.Out) {
		for _, of := range d.collect(m) {
			out(of)
		}
	})
}

// collect makes the metrics under the lock, but sends none there.
func (d *Dispatcher) collect(m *described) (all []prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := measure.Out(func(of prometheus.Metric) { all = append(all, of) })
	gauge := func(d *prometheus.Desc, v int, labels ...string) { out.Gauge(d, float64(v), labels...) }
	for _, l := range d.levels {
		gauge(m.nominal, l.nominal, l.name)
		gauge(m.lower, l.guaranteed(), l.name)
		gauge(m.upper, min(l.most, l.nominal+d.config.Seats), l.name)
		free := max(0, d.pool-d.used)
		gauge(m.current, min(l.most, l.guaranteed()+l.pooled()+free), l.name)
	}
	for _, f := range d.flows {
		l := f.level.name
		out.Happened(m.dispatched, f.dispatched, l, f.name)
		out.Histogram(m.waits, f.waits, l, f.name, "true")
		out.Histogram(m.waits, f.refused, l, f.name, "false")
		out.Histogram(m.took, f.took, l, f.name, "regular")
		out.Histogram(m.width, f.width, l, f.name)
		out.Histogram(m.lengths, f.lengths, l, f.name)
		out.Happened(m.unfit, f.unfit, l, f.name)
		for i, n := range f.rejected {
			out.Happened(m.rejected, n, l, f.name, reasons[i].Reason)
		}
		out.Happened(m.rejected, f.cancelled, l, f.name, "cancelled")
		gauge(m.running, f.running, l, f.name)
		gauge(m.runningS, f.seats, l, f.name)
		gauge(m.inQueue, f.waiting, l, f.name)
		gauge(m.inQueueS, f.waitingSeats, l, f.name)
	}
	return all
}
