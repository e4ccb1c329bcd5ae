package server

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Summary is what the node and its pods use; its JSON is that of upstream's
// stats/v1alpha1.
type Summary struct {
	Node NodeStats  `json:"node"`
	Pods []PodStats `json:"pods"`
}

// NodeStats are those of the node.
type NodeStats struct {
	Name      string    `json:"nodeName"`
	StartTime time.Time `json:"startTime"`
	CPU       *CPU      `json:"cpu,omitempty"`
	Memory    *Memory   `json:"memory,omitempty"`
	FS        *FS       `json:"fs,omitempty"`
}

// PodStats are those of one pod.
type PodStats struct {
	Ref        PodRef           `json:"podRef"`
	StartTime  time.Time        `json:"startTime"`
	Containers []ContainerStats `json:"containers"`
	CPU        *CPU             `json:"cpu,omitempty"`
	Memory     *Memory          `json:"memory,omitempty"`
	Network    *Network         `json:"network,omitempty"`
	Processes  *uint64          `json:"-"`
	Cgroup     string           `json:"-"`
}

// PodRef names a pod.
type PodRef struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	UID       string `json:"uid"`
}

// ContainerStats are those of one container.
type ContainerStats struct {
	Name      string    `json:"name"`
	StartTime time.Time `json:"startTime"`
	CPU       *CPU      `json:"cpu,omitempty"`
	Memory    *Memory   `json:"memory,omitempty"`
	RootFS    *FS       `json:"rootfs,omitempty"`

	// What the metrics of containers tell besides.
	ID     string `json:"-"`
	Image  string `json:"-"`
	Limits Limits `json:"-"`
}

// Limits are what a container may use; 0 is no limit.
type Limits struct{ CPUPeriod, CPUQuota, CPUShares, Memory int64 }

// Machine is what the node runs on.
type Machine struct {
	Cores                         int64
	Memory, Swap                  int64 // bytes
	MachineID, SystemUUID, BootID string
}

// CPU use; UsageCoreNanoSeconds only grows.
type CPU struct {
	Time                 time.Time `json:"time"`
	UsageNanoCores       *uint64   `json:"usageNanoCores,omitempty"`
	UsageCoreNanoSeconds *uint64   `json:"usageCoreNanoSeconds,omitempty"`
}

// Memory use in bytes.
type Memory struct {
	Time            time.Time `json:"time"`
	AvailableBytes  *uint64   `json:"availableBytes,omitempty"`
	UsageBytes      *uint64   `json:"usageBytes,omitempty"`
	WorkingSetBytes *uint64   `json:"workingSetBytes,omitempty"`
	RSSBytes        *uint64   `json:"rssBytes,omitempty"`
	PageFaults      *uint64   `json:"pageFaults,omitempty"`
	MajorPageFaults *uint64   `json:"majorPageFaults,omitempty"`
}

// FS is the use of a file system.
type FS struct {
	Time           time.Time `json:"time"`
	AvailableBytes *uint64   `json:"availableBytes,omitempty"`
	CapacityBytes  *uint64   `json:"capacityBytes,omitempty"`
	UsedBytes      *uint64   `json:"usedBytes,omitempty"`
	InodesUsed     *uint64   `json:"inodesUsed,omitempty"`
}

// Network use of a pod: its default interface, and all that it has.
type Network struct {
	Time time.Time `json:"time"`
	Interface
	Interfaces []Interface `json:"interfaces,omitempty"`
}

// Interface use.
type Interface struct {
	Name     string  `json:"name,omitempty"`
	RxBytes  *uint64 `json:"rxBytes,omitempty"`
	RxErrors *uint64 `json:"rxErrors,omitempty"`
	TxBytes  *uint64 `json:"txBytes,omitempty"`
	TxErrors *uint64 `json:"txErrors,omitempty"`
}

func (s *server) summary(w http.ResponseWriter, r *http.Request) {
	sum, err := s.Node.Usage(r.Context())
	if err != nil {
		refuse(w, err)
		return
	}
	if sum.Pods == nil {
		sum.Pods = []PodStats{}
	}
	writeJSON(w, &sum)
}

// exposition is a metrics page of the Prometheus text format.
type exposition struct{ bytes.Buffer }

func (e *exposition) family(name, kind, help string) {
	fmt.Fprintf(e, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (e *exposition) sample(name, labels string, value float64, at time.Time) {
	e.WriteString(name)
	if labels != "" {
		e.WriteString("{" + labels + "}")
	}
	e.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64))
	if !at.IsZero() {
		e.WriteString(" " + strconv.FormatInt(at.UnixMilli(), 10))
	}
	e.WriteByte('\n')
}

func (e *exposition) serve(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(e.Bytes())
}

// resource serves the usage from which kubectl top and autoscalers work.
func (s *server) resource(w http.ResponseWriter, r *http.Request) {
	sum, err := s.Node.Stats(r.Context())
	var e exposition
	if err == nil {
		e.usage(&sum)
	}
	e.family("scrape_error", "gauge", "[ALPHA] 1 if there was an error while getting container metrics, 0 otherwise")
	failed := 0.0
	if err != nil {
		failed = 1
	}
	e.sample("scrape_error", "", failed, time.Time{})
	e.serve(w)
}

func (e *exposition) usage(sum *Summary) {
	type row struct {
		labels string
		cpu    *CPU
		memory *Memory
		start  time.Time
	}
	var pods, containers []row
	for i := range sum.Pods {
		p := &sum.Pods[i]
		ref := fmt.Sprintf("namespace=%q,pod=%q", p.Ref.Namespace, p.Ref.Name)
		pods = append(pods, row{ref, p.CPU, p.Memory, p.StartTime})
		for j := range p.Containers {
			c := &p.Containers[j]
			containers = append(containers, row{fmt.Sprintf("container=%q,%s", c.Name, ref), c.CPU, c.Memory, c.StartTime})
		}
	}
	table := func(prefix string, rows []row, start bool) {
		e.family(prefix+"_cpu_usage_seconds_total", "counter", "[STABLE] Cumulative cpu time consumed in core-seconds")
		for _, r := range rows {
			if r.cpu != nil && r.cpu.UsageCoreNanoSeconds != nil {
				e.sample(prefix+"_cpu_usage_seconds_total", r.labels, float64(*r.cpu.UsageCoreNanoSeconds)/1e9, r.cpu.Time)
			}
		}
		e.family(prefix+"_memory_working_set_bytes", "gauge", "[STABLE] Current working set in bytes")
		for _, r := range rows {
			if r.memory != nil && r.memory.WorkingSetBytes != nil {
				e.sample(prefix+"_memory_working_set_bytes", r.labels, float64(*r.memory.WorkingSetBytes), r.memory.Time)
			}
		}
		if !start {
			return
		}
		e.family(prefix+"_start_time_seconds", "gauge", "[STABLE] Start time since unix epoch in seconds")
		for _, r := range rows {
			if !r.start.IsZero() {
				e.sample(prefix+"_start_time_seconds", r.labels, float64(r.start.UnixNano())/1e9, time.Time{})
			}
		}
	}
	table("container", containers, true)
	table("pod", pods, false)
	table("node", []row{{"", sum.Node.CPU, sum.Node.Memory, sum.Node.StartTime}}, false)
}
