package controller

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Work is what a loop has done so far, and what waits.
type Work struct {
	Adds, Retries uint64
	Depth         int
	// Unfinished is how long syncs under way have taken so far, together, and
	// Longest the longest of them.
	Unfinished, Longest time.Duration
	// Queued is how long keys waited, Synced how long their syncs took.
	Queued, Synced Durations
}

// durationBounds are upstream's, in seconds.
var durationBounds = [...]float64{1e-8, 1e-7, 1e-6, 9.999999999999999e-06, 9.999999999999999e-05, 1e-3, 1e-2, 0.1, 1, 10}

// Durations is how often something took how long.
type Durations struct {
	counts [len(durationBounds) + 1]uint64
	sum    time.Duration
}

func (d *Durations) add(took time.Duration) {
	s, i := took.Seconds(), 0
	for i < len(durationBounds) && s > durationBounds[i] {
		i++
	}
	d.counts[i]++
	d.sum += took
}

func (d *Durations) metric(desc *prometheus.Desc, name string) prometheus.Metric {
	cumulative, n := make(map[float64]uint64, len(durationBounds)), uint64(0)
	for i, b := range durationBounds {
		n += d.counts[i]
		cumulative[b] = n
	}
	return prometheus.MustNewConstHistogram(desc, n+d.counts[len(durationBounds)], d.sum.Seconds(), cumulative, name)
}

// Work returns what the loop has done.
func (l *Loop[K]) Work() Work {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.work
	w.Depth = l.ready.len()
	now := l.clock.Now()
	for _, began := range l.began {
		if !began.IsZero() {
			took := now.Sub(began)
			w.Unfinished += took
			w.Longest = max(w.Longest, took)
		}
	}
	return w
}

// Worker is a controller that tells of its work, as those that are a Loop do.
type Worker interface {
	Name() string
	Work() Work
}

// NewCollector returns upstream's metrics of work queues, of these workers.
func NewCollector(workers []Worker) prometheus.Collector {
	d := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("workqueue_"+name, help, []string{"name"}, nil)
	}
	c := &collector{
		workers:    map[string]Worker{},
		unfinished: d("unfinished_work_seconds", "How many seconds of work has been done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads."),
		longest:    d("longest_running_processor_seconds", "How many seconds has the longest running processor for workqueue been running."),
		adds:       d("adds_total", "Total number of adds handled by workqueue"),
		retries:    d("retries_total", "Total number of retries handled by workqueue"),
		depth:      d("depth", "Current depth of workqueue"),
		queued:     d("queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested."),
		synced:     d("work_duration_seconds", "How long in seconds processing an item from workqueue takes."),
	}
	for _, w := range workers {
		name := w.Name()
		for n := 2; c.workers[name] != nil; n++ {
			name = fmt.Sprintf("%s-%d", w.Name(), n)
		}
		c.workers[name] = w
	}
	return c
}

type collector struct {
	workers                              map[string]Worker
	adds, retries, depth, queued, synced *prometheus.Desc
	unfinished, longest                  *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for name, worker := range c.workers {
		w := worker.Work()
		ch <- prometheus.MustNewConstMetric(c.adds, prometheus.CounterValue, float64(w.Adds), name)
		ch <- prometheus.MustNewConstMetric(c.retries, prometheus.CounterValue, float64(w.Retries), name)
		ch <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, float64(w.Depth), name)
		ch <- prometheus.MustNewConstMetric(c.unfinished, prometheus.GaugeValue, w.Unfinished.Seconds(), name)
		ch <- prometheus.MustNewConstMetric(c.longest, prometheus.GaugeValue, w.Longest.Seconds(), name)
		ch <- w.Queued.metric(c.queued, name)
		ch <- w.Synced.metric(c.synced, name)
	}
}
