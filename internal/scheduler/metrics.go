package scheduler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// attemptBounds are upstream's, in seconds: from a millisecond on, doubled; podBounds
// are those of a pod's whole way, from ten milliseconds on.
var (
	attemptBounds = prometheus.ExponentialBuckets(0.001, 2, 15)
	podBounds     = prometheus.ExponentialBuckets(0.01, 2, 20)
)

// durations is a histogram under the Scheduler's lock.
type durations struct {
	counts [21]uint64 // enough for the longest bounds, and what is beyond
	sum    time.Duration
}

func (d *durations) add(bounds []float64, took time.Duration) {
	s, i := took.Seconds(), 0
	for i < len(bounds) && s > bounds[i] {
		i++
	}
	d.counts[i]++
	d.sum += took
}

func (d *durations) metric(desc *prometheus.Desc, bounds []float64, labels ...string) prometheus.Metric {
	cumulative, n := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, b := range bounds {
		n += d.counts[i]
		cumulative[b] = n
	}
	return prometheus.MustNewConstHistogram(desc, n+d.counts[len(bounds)], d.sum.Seconds(), cumulative, labels...)
}

// result of an attempt to schedule a pod.
type result int

const (
	scheduled result = iota
	unschedulable
	failed
)

var results = [...]string{scheduled: "scheduled", unschedulable: "unschedulable", failed: "error"}

// counted is what the scheduler counts, under its lock.
type counted struct {
	attempts [len(results)]durations // how long each took
	pods     durations               // from when a pod came until it was bound
	preempts uint64                  // attempts to make room
}

// attempt counts an attempt that began then.
func (c *counted) attempt(r result, began, now time.Time) {
	c.attempts[r].add(attemptBounds, now.Sub(began))
}

// queues are the names that upstream's metrics have for places of the queue.
var queues = map[place]string{active: "active", backoff: "backoff", delayed: "backoff", waiting: "unschedulable", gated: "gated"}

// Collector returns upstream's metrics of the scheduler, put together when they
// are asked for.
func (s *Scheduler) Collector() prometheus.Collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("scheduler_"+name, help, labels, nil)
	}
	return &collector{
		s:        s,
		attempts: d("schedule_attempts_total", "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.", "result", "profile"),
		took:     d("scheduling_attempt_duration_seconds", "Scheduling attempt latency in seconds (scheduling algorithm + binding)", "result", "profile"),
		sli:      d("pod_scheduling_sli_duration_seconds", "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts."),
		pending:  d("pending_pods", "Number of pending pods, by the queue type.", "queue"),
		preempts: d("preemption_attempts_total", "Total preemption attempts in the cluster till now"),
		cache:    d("cache_size", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", "type"),
	}
}

type collector struct {
	s                                             *Scheduler
	attempts, took, sli, pending, preempts, cache *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.s
	s.mu.Lock()
	done, pending := s.counted, map[string]int{"active": 0, "backoff": 0, "unschedulable": 0, "gated": 0}
	for _, it := range s.queue.items {
		if name, ok := queues[it.at]; ok {
			pending[name]++
		}
	}
	sizes := map[string]int{"nodes": len(s.index.nodes), "pods": len(s.index.pods)}
	s.mu.Unlock()
	for r := range results {
		n := uint64(0)
		for _, of := range done.attempts[r].counts {
			n += of
		}
		ch <- prometheus.MustNewConstMetric(c.attempts, prometheus.CounterValue, float64(n), results[r], s.name)
		ch <- done.attempts[r].metric(c.took, attemptBounds, results[r], s.name)
	}
	ch <- done.pods.metric(c.sli, podBounds)
	ch <- prometheus.MustNewConstMetric(c.preempts, prometheus.CounterValue, float64(done.preempts))
	for name, n := range pending {
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(n), name)
	}
	for name, n := range sizes {
		ch <- prometheus.MustNewConstMetric(c.cache, prometheus.GaugeValue, float64(n), name)
	}
}
