package server

import (
	"fmt"
	"net/http"
	"time"
)

// used is what the node, a pod or a container uses, as a row of the tables below.
type used struct {
	labels string
	*CPU
	*Memory
	*FS
	*Limits
	processes *uint64
	start     time.Time
	seen      time.Time
}

// gauge is a metric with one value for each row that has it.
type gauge struct {
	name, kind, help, label string
	of                      func(*used) (float64, bool)
}

func known(v *uint64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return float64(*v), true
}

func memory(of func(*Memory) *uint64) func(*used) (float64, bool) {
	return func(u *used) (float64, bool) {
		if u.Memory == nil {
			return 0, false
		}
		return known(of(u.Memory))
	}
}

func disk(of func(*FS) *uint64) func(*used) (float64, bool) {
	return func(u *used) (float64, bool) {
		if u.FS == nil {
			return 0, false
		}
		return known(of(u.FS))
	}
}

func limit(zero bool, of func(*Limits) int64) func(*used) (float64, bool) {
	return func(u *used) (float64, bool) {
		if u.Limits == nil {
			return 0, false
		}
		v := of(u.Limits)
		return float64(v), zero || v > 0
	}
}

func at(of func(*used) time.Time) func(*used) (float64, bool) {
	return func(u *used) (float64, bool) {
		t := of(u)
		return float64(t.UnixMilli()) / 1e3, !t.IsZero()
	}
}

// containerMetrics have the names by which cAdvisor made them known.
var containerMetrics = [...]gauge{
	{"container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", `cpu="total"`, func(u *used) (float64, bool) {
		if u.CPU == nil {
			return 0, false
		}
		v, ok := known(u.UsageCoreNanoSeconds)
		return v / 1e9, ok
	}},
	{"container_fs_limit_bytes", "gauge", "Number of bytes that can be used on this file system.", `device=""`, disk(func(f *FS) *uint64 { return f.CapacityBytes })},
	{"container_fs_usage_bytes", "gauge", "Number of bytes that are used on this file system.", `device=""`, disk(func(f *FS) *uint64 { return f.UsedBytes })},
	{"container_last_seen", "gauge", "When this was last seen, in unix seconds.", "", at(func(u *used) time.Time { return u.seen })},
	{"container_memory_failures_total", "counter", "Cumulative count of page faults.", `failure_type="pgfault",scope="hierarchy"`, memory(func(m *Memory) *uint64 { return m.PageFaults })},
	{"container_memory_failures_total", "", "", `failure_type="pgmajfault",scope="hierarchy"`, memory(func(m *Memory) *uint64 { return m.MajorPageFaults })},
	{"container_memory_rss", "gauge", "Size of RSS in bytes.", "", memory(func(m *Memory) *uint64 { return m.RSSBytes })},
	{"container_memory_usage_bytes", "gauge", "Current memory usage in bytes, whenever it was accessed.", "", memory(func(m *Memory) *uint64 { return m.UsageBytes })},
	{"container_memory_working_set_bytes", "gauge", "Current working set in bytes.", "", memory(func(m *Memory) *uint64 { return m.WorkingSetBytes })},
	{"container_processes", "gauge", "Number of processes.", "", func(u *used) (float64, bool) { return known(u.processes) }},
	{"container_spec_cpu_period", "gauge", "CPU period, in microseconds.", "", limit(false, func(l *Limits) int64 { return l.CPUPeriod })},
	{"container_spec_cpu_quota", "gauge", "CPU quota within a period, in microseconds.", "", limit(false, func(l *Limits) int64 { return l.CPUQuota })},
	{"container_spec_cpu_shares", "gauge", "CPU share.", "", limit(false, func(l *Limits) int64 { return l.CPUShares })},
	{"container_spec_memory_limit_bytes", "gauge", "Memory limit, 0 without one.", "", limit(true, func(l *Limits) int64 { return l.Memory })},
	{"container_start_time_seconds", "gauge", "Start time since unix epoch in seconds.", "", at(func(u *used) time.Time { return u.start })},
}

// networkMetrics are those of a pod's interfaces.
var networkMetrics = [...]struct {
	name, help string
	of         func(*Interface) *uint64
}{
	{"container_network_receive_bytes_total", "Cumulative count of bytes received", func(i *Interface) *uint64 { return i.RxBytes }},
	{"container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", func(i *Interface) *uint64 { return i.RxErrors }},
	{"container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", func(i *Interface) *uint64 { return i.TxBytes }},
	{"container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", func(i *Interface) *uint64 { return i.TxErrors }},
}

// cadvisor serves what containers, pods and the node use, under the names that
// dashboards know.
func (s *server) cadvisor(w http.ResponseWriter, r *http.Request) {
	sum, err := s.Node.Usage(r.Context())
	var e exposition
	if err == nil {
		e.containers(&sum)
	}
	e.machine(s.Node.Machine())
	failed := 0.0
	if err != nil {
		failed = 1
	}
	e.family("container_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise")
	e.sample("container_scrape_error", "", failed, time.Time{})
	e.serve(w)
}

func identity(container, id, image, name string, of PodRef) string {
	return fmt.Sprintf("container=%q,id=%q,image=%q,name=%q,namespace=%q,pod=%q", container, id, image, name, of.Namespace, of.Name)
}

func (e *exposition) containers(sum *Summary) {
	n := &sum.Node
	rows := []used{{labels: identity("", "/", "", "", PodRef{}), CPU: n.CPU, Memory: n.Memory, FS: n.FS, start: n.StartTime}}
	for i := range sum.Pods {
		p := &sum.Pods[i]
		rows = append(rows, used{labels: identity("", p.Cgroup, "", "", p.Ref), CPU: p.CPU, Memory: p.Memory, processes: p.Processes, start: p.StartTime})
		for j := range p.Containers {
			c := &p.Containers[j]
			rows = append(rows, used{
				labels: identity(c.Name, p.Cgroup+"/"+c.ID, c.Image, c.ID, p.Ref),
				CPU:    c.CPU, Memory: c.Memory, FS: c.RootFS, Limits: &c.Limits, start: c.StartTime,
			})
		}
	}
	for i := range rows {
		switch u := &rows[i]; {
		case u.CPU != nil:
			u.seen = u.CPU.Time
		case u.Memory != nil:
			u.seen = u.Memory.Time
		}
	}
	for _, m := range containerMetrics {
		if m.kind != "" {
			e.family(m.name, m.kind, m.help)
		}
		for i := range rows {
			if v, ok := m.of(&rows[i]); ok {
				e.sample(m.name, with(rows[i].labels, m.label), v, rows[i].seen)
			}
		}
	}
	for _, m := range networkMetrics {
		e.family(m.name, "counter", m.help)
		for i := range sum.Pods {
			p := &sum.Pods[i]
			if p.Network == nil {
				continue
			}
			for j := range p.Network.Interfaces {
				in := &p.Network.Interfaces[j]
				if v, ok := known(m.of(in)); ok {
					e.sample(m.name, with(identity("", p.Cgroup, "", "", p.Ref), fmt.Sprintf("interface=%q", in.Name)), v, p.Network.Time)
				}
			}
		}
	}
}

func with(labels, more string) string {
	if more == "" {
		return labels
	}
	return labels + "," + more
}

func (e *exposition) machine(m Machine) {
	labels := fmt.Sprintf("boot_id=%q,machine_id=%q,system_uuid=%q", m.BootID, m.MachineID, m.SystemUUID)
	for _, of := range [...]struct {
		name, help string
		value      int64
	}{
		{"machine_cpu_cores", "Number of logical CPU cores.", m.Cores},
		{"machine_memory_bytes", "Amount of memory installed on the machine.", m.Memory},
		{"machine_swap_bytes", "Amount of swap memory available on the machine.", m.Swap},
	} {
		e.family(of.name, "gauge", of.help)
		e.sample(of.name, labels, float64(of.value), time.Time{})
	}
}
