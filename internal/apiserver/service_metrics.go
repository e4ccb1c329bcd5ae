package apiserver

import (
	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
)

// allocations count what was asked of a range, by whether the number was stated
// or to be chosen.
type allocations struct{ static, dynamic outcomes }

type outcomes struct{ done, failed uint64 }

func (o *outcomes) count(done bool) {
	if done {
		o.done++
	} else {
		o.failed++
	}
}

func (a *allocations) add(b allocations) {
	a.static.done += b.static.done
	a.static.failed += b.static.failed
	a.dynamic.done += b.dynamic.done
	a.dynamic.failed += b.dynamic.failed
}

// Collector returns upstream's metrics of the allocators of Services' addresses
// and ports.
func (a *serviceAllocator) Collector() prometheus.Collector {
	type family struct{ taken, free, done, failed *prometheus.Desc }
	describe := func(prefix, what string, labels ...string) family {
		d := func(name, help string, more ...string) *prometheus.Desc {
			return prometheus.NewDesc("kube_apiserver_"+prefix+"_allocator_"+name, help, append(labels[:len(labels):len(labels)], more...), nil)
		}
		return family{
			taken:  d("allocated_"+what, "Gauge measuring the number of allocated "+what+" for Services"),
			free:   d("available_"+what, "Gauge measuring the number of available "+what+" for Services"),
			done:   d("allocation_total", "Number of "+what+" allocations, by whether they were stated or chosen", "scope"),
			failed: d("allocation_errors_total", "Number of errors trying to allocate "+what+", by whether they were stated or to be chosen", "scope"),
		}
	}
	ips, ports := describe("clusterip", "ips", "cidr"), describe("nodeport", "ports")
	return measure.Collector(func(out measure.Out) {
		a.mu.Lock()
		takenIPs, freeIPs := a.ips.Counts()
		takenPorts, freePorts := a.ports.Counts()
		ofIPs, ofPorts := a.ipCounts, a.portCounts
		a.mu.Unlock()
		tell := func(f family, taken, free int, n allocations, labels ...string) {
			out.Gauge(f.taken, float64(taken), labels...)
			out.Gauge(f.free, float64(free), labels...)
			for scope, o := range map[string]outcomes{"static": n.static, "dynamic": n.dynamic} {
				scoped := append(labels[:len(labels):len(labels)], scope)
				out.Happened(f.done, o.done, scoped...)
				out.Happened(f.failed, o.failed, scoped...)
			}
		}
		tell(ips, takenIPs, freeIPs, ofIPs, a.cidr.String())
		tell(ports, takenPorts, freePorts, ofPorts)
	})
}
