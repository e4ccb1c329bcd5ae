package cache

import (
	"context"
	"sync/atomic"

	"clipper/internal/measure"
	"clipper/internal/store"

	"github.com/prometheus/client_golang/prometheus"
)

// guarded are what is counted of a resource under its lock.
type guarded struct {
	received   uint64 // events of the store
	dispatched uint64 // of these, those that were given to watchers
	unreadable uint64 // objects that could not be decoded
	loads      uint64
	bytes      int64 // of all objects, as they are stored
	grown      uint64
	shrunk     uint64
	expired    uint64 // watchers that fell behind
}

// counts are what is counted of a resource.
type counts struct {
	guarded
	initial        atomic.Uint64 // events that told watchers what there was
	whole, byIndex lists         // of the present
	returned       atomic.Uint64 // objects, by these
	fresh, stale   atomic.Uint64 // reads that wanted all that is acknowledged, and whether they got it
	waits          *measure.Histogram

	past, pastRead, pastSeen, pastReturned atomic.Uint64 // loads, lists of what the store remembers, and their objects

	// Requests are those that were made of the store.
	Requests store.Requests
}

// lists are those that took one way to their objects.
type lists struct{ served, fetched atomic.Uint64 }

// waitBounds are upstream's, in seconds.
var waitBounds = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3}

// WaitFor is the Cache's, and counts how long it took.
func (r *Resource) WaitFor(ctx context.Context, revision int64) error {
	waited, err := r.cache.waitFor(ctx, revision)
	r.waits.Took(waited)
	return err
}

// WaitFresh is the Cache's, and counts how long it took.
func (r *Resource) WaitFresh(ctx context.Context) error {
	err := r.WaitFor(ctx, r.cache.store.Revision())
	if err == nil {
		r.fresh.Add(1)
	} else {
		r.stale.Add(1)
	}
	return err
}

// Listed counts a list of a snapshot that looked at so many objects, and returned
// so many.
func (r *Resource) Listed(s *Snapshot, sel *Selection, seen, returned int) {
	if s.past {
		r.pastSeen.Add(uint64(seen))
		r.pastReturned.Add(uint64(returned))
		return
	}
	l := &r.whole
	if sel.byIndex && s.index != nil {
		l = &r.byIndex
	}
	l.served.Add(1)
	l.fetched.Add(uint64(seen))
	r.returned.Add(uint64(returned))
}

// described are the metrics, with upstream's names.
type described struct {
	took, asked, failed                         *prometheus.Desc
	objects, resources, bytes                   *prometheus.Desc
	stored, received, dispatched, unreadable    *prometheus.Desc
	loads, initial, expired, version            *prometheus.Desc
	capacity, grown, shrunk                     *prometheus.Desc
	lists, fetched, returned, waits, consistent *prometheus.Desc
	past, pastRead, pastSeen, pastReturned      *prometheus.Desc
}

func describe() *described {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"group", "resource"}, labels...), nil)
	}
	return &described{
		took:         d("etcd_request_duration_seconds", "Etcd request latency in seconds for each operation and object type.", "operation"),
		asked:        d("etcd_requests_total", "Etcd request counts for each operation and object type.", "operation"),
		failed:       d("etcd_request_errors_total", "Etcd failed request counts for each operation and object type.", "operation"),
		objects:      prometheus.NewDesc("apiserver_storage_objects", "Number of stored objects split by kind.", []string{"resource"}, nil),
		resources:    d("apiserver_resource_objects", "Number of stored objects split by kind."),
		bytes:        d("apiserver_resource_size_estimate_bytes", "Estimated size of stored objects in database. Estimate is based on sum of last observed sizes of serialized objects."),
		stored:       d("apiserver_storage_events_received_total", "Number of etcd events received split by kind."),
		unreadable:   d("apiserver_storage_decode_errors_total", "Number of stored object decode errors split by object type"),
		received:     d("apiserver_watch_cache_events_received_total", "Counter of events received in watch cache broken by resource type."),
		dispatched:   d("apiserver_watch_cache_events_dispatched_total", "Counter of events dispatched in watch cache broken by resource type."),
		loads:        d("apiserver_watch_cache_initializations_total", "Counter of watch cache initializations broken by resource type."),
		initial:      d("apiserver_init_events_total", "Counter of init events processed in watch cache broken by resource type."),
		expired:      d("apiserver_terminated_watchers_total", "Counter of watchers closed due to unresponsiveness broken by resource type."),
		version:      d("apiserver_watch_cache_resource_version", "Current resource version of watch cache broken by resource type. This is truncated to the 15 least significant digits."),
		capacity:     d("watch_cache_capacity", "Total capacity of watch cache broken by resource type."),
		grown:        d("watch_cache_capacity_increase_total", "Total number of watch cache capacity increase events broken by resource type."),
		shrunk:       d("watch_cache_capacity_decrease_total", "Total number of watch cache capacity decrease events broken by resource type."),
		lists:        d("apiserver_cache_list_total", "Number of LIST requests served from watch cache", "index"),
		fetched:      d("apiserver_cache_list_fetched_objects_total", "Number of objects read from watch cache in the course of serving a LIST request", "index"),
		returned:     d("apiserver_cache_list_returned_objects_total", "Number of objects returned for a LIST request from watch cache"),
		waits:        d("apiserver_watch_cache_read_wait_seconds", "Histogram of time spent waiting for a watch cache to become fresh."),
		consistent:   d("apiserver_watch_cache_consistent_read_total", "Counter for consistent reads from cache.", "success", "fallback"),
		past:         d("apiserver_storage_list_total", "Number of LIST requests served from storage"),
		pastRead:     d("apiserver_storage_list_fetched_objects_total", "Number of objects read from storage in the course of serving a LIST request"),
		pastSeen:     d("apiserver_storage_list_evaluated_objects_total", "Number of objects tested in the course of serving a LIST request from storage"),
		pastReturned: d("apiserver_storage_list_returned_objects_total", "Number of objects returned for a LIST request from storage"),
	}
}

// Collector returns the metrics of all resources.
func (c *Cache) Collector() prometheus.Collector {
	d := describe()
	size := prometheus.NewDesc("apiserver_storage_size_bytes", "Size of the storage database file physically allocated in bytes.", []string{"storage_cluster_id"}, nil)
	return measure.Collector(func(out measure.Out) {
		if s, ok := c.store.(interface{ Size() int64 }); ok {
			out.Gauge(size, float64(s.Size()), "0")
		}
		for _, r := range c.byRow {
			r.collect(d, out)
		}
	})
}

// versionDigits keep a revision exact as a float.
const versionDigits = 1e15

func (r *Resource) collect(d *described, out measure.Out) {
	r.mu.RLock()
	n, g, version, room := r.tree.Len(), r.guarded, max(r.last, r.cache.Revision()), len(r.all.ring)
	r.mu.RUnlock()
	group, name := r.row.Group, r.row.Name

	r.Requests.Each(func(o store.Operation, took *measure.Histogram, failed uint64) {
		out.Histogram(d.took, took, group, name, o.String())
		out.Counter(d.asked, took.Count(), group, name, o.String())
		out.Happened(d.failed, failed, group, name, o.String())
	})
	out.Gauge(d.objects, float64(n), r.row.GroupResource().String())
	out.Gauge(d.resources, float64(n), group, name)
	out.Gauge(d.bytes, float64(g.bytes), group, name)
	out.Happened(d.stored, g.received, group, name)
	out.Happened(d.received, g.received, group, name)
	out.Happened(d.dispatched, g.dispatched, group, name)
	out.Happened(d.unreadable, g.unreadable, group, name)
	out.Happened(d.loads, g.loads, group, name)
	out.Happened(d.initial, r.initial.Load(), group, name)
	out.Happened(d.expired, g.expired, group, name)
	out.Gauge(d.version, float64(version%versionDigits), group, name)
	out.Gauge(d.capacity, float64(room), group, name)
	out.Happened(d.grown, g.grown, group, name)
	out.Happened(d.shrunk, g.shrunk, group, name)

	list := func(l *lists, index string) {
		out.Happened(d.lists, l.served.Load(), group, name, index)
		out.Happened(d.fetched, l.fetched.Load(), group, name, index)
	}
	list(&r.whole, "")
	list(&r.byIndex, "f:"+r.indexed)
	out.Happened(d.returned, r.returned.Load(), group, name)
	out.Histogram(d.waits, r.waits, group, name)
	out.Happened(d.consistent, r.fresh.Load(), group, name, "true", "false")
	out.Happened(d.consistent, r.stale.Load(), group, name, "false", "false")
	out.Happened(d.past, r.past.Load(), group, name)
	out.Counter(d.pastRead, r.pastRead.Load(), group, name)
	out.Counter(d.pastSeen, r.pastSeen.Load(), group, name)
	out.Counter(d.pastReturned, r.pastReturned.Load(), group, name)
}
