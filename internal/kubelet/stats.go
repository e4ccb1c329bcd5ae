package kubelet

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/kubelet/node"
	"clipper/internal/kubelet/podspec"
	"clipper/internal/kubelet/server"
)

// Stats implements server.Node: the pods' part comes from the runtime, read at
// the time of the question.
func (k *Kubelet) Stats(ctx context.Context) (server.Summary, error) {
	containers, err := k.Runtime.ListContainerStats(ctx, nil)
	if err != nil {
		return server.Summary{}, err
	}
	return k.summarize(containers, nil), nil
}

// Usage implements server.Node. A runtime that tells nothing of whole pods
// leaves out what only it can know of them.
func (k *Kubelet) Usage(ctx context.Context) (server.Summary, error) {
	sandboxes, err := k.Runtime.ListPodSandboxStats(ctx, nil)
	if status.Code(err) == codes.Unimplemented {
		return k.Stats(ctx)
	}
	if err != nil {
		return server.Summary{}, err
	}
	var containers []*runtimeapi.ContainerStats
	for _, s := range sandboxes {
		containers = append(containers, s.GetLinux().GetContainers()...)
	}
	return k.summarize(containers, sandboxes), nil
}

// Machine implements server.Node.
func (k *Kubelet) Machine() server.Machine {
	m := &k.node.Machine
	return server.Machine{
		Cores: m.CPUs, Memory: m.Memory, Swap: m.Swap,
		MachineID: m.MachineID, SystemUUID: m.SystemUUID, BootID: m.BootID,
	}
}

// summarize puts together what is measured and the pods it is of.
func (k *Kubelet) summarize(containers []*runtimeapi.ContainerStats, sandboxes []*runtimeapi.PodSandboxStats) server.Summary {
	sum := server.Summary{Node: k.nodeStats()}
	pods, index := k.List(), map[string]int{}
	for _, pod := range pods {
		p := server.PodStats{
			Ref:    server.PodRef{Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID)},
			Cgroup: k.spec.CgroupParent(pod),
		}
		if pod.Status.StartTime != nil {
			p.StartTime = pod.Status.StartTime.Time
		}
		index[p.Ref.UID] = len(sum.Pods)
		sum.Pods = append(sum.Pods, p)
	}
	for _, c := range containers {
		if c.Attributes == nil {
			continue
		}
		uid, name := podspec.SpecOf(c.Attributes.Labels)
		i, ok := index[uid]
		if !ok {
			continue
		}
		p := &sum.Pods[i]
		cs := server.ContainerStats{Name: name, ID: c.Attributes.Id, StartTime: p.StartTime, CPU: cpuOf(c.Cpu), Memory: memoryOf(c.Memory)}
		if w := c.WritableLayer; w != nil {
			cs.RootFS = &server.FS{Time: time.Unix(0, w.Timestamp), UsedBytes: value(w.UsedBytes), InodesUsed: value(w.InodesUsed)}
		}
		k.describe(&cs, pods[i])
		p.Containers = append(p.Containers, cs)
		p.CPU = addCPU(p.CPU, cs.CPU)
		p.Memory = addMemory(p.Memory, cs.Memory)
	}
	for _, s := range sandboxes {
		uid, _ := podspec.SpecOf(s.GetAttributes().GetLabels())
		i, ok := index[uid]
		if !ok || s.Linux == nil {
			continue
		}
		// The pod's own cgroup counts what ended containers used, too.
		p := &sum.Pods[i]
		if c := cpuOf(s.Linux.Cpu); c != nil {
			p.CPU = c
		}
		if m := memoryOf(s.Linux.Memory); m != nil {
			p.Memory = m
		}
		p.Network = networkOf(s.Linux.Network)
		p.Processes = value(s.Linux.Process.GetProcessCount())
	}
	return sum
}

// describe tells of a container what its pod says.
func (k *Kubelet) describe(cs *server.ContainerStats, pod *v1.Pod) {
	for _, list := range [][]v1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if s := &list[i]; s.Name == cs.Name {
				cs.Image = s.Image
				if s.State.Running != nil {
					cs.StartTime = s.State.Running.StartedAt.Time
				}
			}
		}
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == cs.Name {
				r := k.spec.Resources(pod, &list[i])
				cs.Limits = server.Limits{CPUPeriod: r.CpuPeriod, CPUQuota: r.CpuQuota, CPUShares: r.CpuShares, Memory: r.MemoryLimitInBytes}
			}
		}
	}
}

func networkOf(n *runtimeapi.NetworkUsage) *server.Network {
	if n == nil || n.DefaultInterface == nil {
		return nil
	}
	of := func(i *runtimeapi.NetworkInterfaceUsage) server.Interface {
		return server.Interface{Name: i.Name, RxBytes: value(i.RxBytes), RxErrors: value(i.RxErrors), TxBytes: value(i.TxBytes), TxErrors: value(i.TxErrors)}
	}
	out := &server.Network{Time: time.Unix(0, n.Timestamp), Interface: of(n.DefaultInterface), Interfaces: []server.Interface{of(n.DefaultInterface)}}
	for _, i := range n.Interfaces {
		out.Interfaces = append(out.Interfaces, of(i))
	}
	return out
}

func value(v *runtimeapi.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	return &v.Value
}

func cpuOf(c *runtimeapi.CpuUsage) *server.CPU {
	if c == nil {
		return nil
	}
	return &server.CPU{Time: time.Unix(0, c.Timestamp), UsageNanoCores: value(c.UsageNanoCores), UsageCoreNanoSeconds: value(c.UsageCoreNanoSeconds)}
}

func memoryOf(m *runtimeapi.MemoryUsage) *server.Memory {
	if m == nil {
		return nil
	}
	return &server.Memory{Time: time.Unix(0, m.Timestamp), AvailableBytes: value(m.AvailableBytes), UsageBytes: value(m.UsageBytes),
		WorkingSetBytes: value(m.WorkingSetBytes), RSSBytes: value(m.RssBytes),
		PageFaults: value(m.PageFaults), MajorPageFaults: value(m.MajorPageFaults)}
}

func plus(a, b *uint64) *uint64 {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	sum := *a + *b
	return &sum
}

func addCPU(a, b *server.CPU) *server.CPU {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return &server.CPU{Time: b.Time, UsageNanoCores: plus(a.UsageNanoCores, b.UsageNanoCores), UsageCoreNanoSeconds: plus(a.UsageCoreNanoSeconds, b.UsageCoreNanoSeconds)}
}

func addMemory(a, b *server.Memory) *server.Memory {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return &server.Memory{Time: b.Time, UsageBytes: plus(a.UsageBytes, b.UsageBytes), WorkingSetBytes: plus(a.WorkingSetBytes, b.WorkingSetBytes), RSSBytes: plus(a.RSSBytes, b.RSSBytes)}
}

// clockTicks a second, in which /proc/stat counts.
const clockTicks = 100

func (k *Kubelet) nodeStats() server.NodeStats {
	now := k.Clock.Now()
	n := server.NodeStats{Name: k.NodeName}
	if b, err := os.ReadFile("/proc/stat"); err == nil {
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 9 || f[0] != "cpu" {
				if len(f) == 2 && f[0] == "btime" {
					if s, err := strconv.ParseInt(f[1], 10, 64); err == nil {
						n.StartTime = time.Unix(s, 0)
					}
				}
				continue
			}
			// All but idle and iowait.
			var ticks uint64
			for _, i := range [...]int{1, 2, 3, 6, 7, 8} {
				v, _ := strconv.ParseUint(f[i], 10, 64)
				ticks += v
			}
			nanos := ticks * (uint64(time.Second) / clockTicks)
			n.CPU = &server.CPU{Time: now, UsageCoreNanoSeconds: &nanos}
		}
	}
	var total, available uint64
	for key, v := range node.Pairs("/proc/meminfo", ":") {
		kb, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
		switch key {
		case "MemTotal":
			total = kb << 10
		case "MemAvailable":
			available = kb << 10
		}
	}
	if total > 0 {
		used := total - available
		n.Memory = &server.Memory{Time: now, AvailableBytes: &available, WorkingSetBytes: &used, UsageBytes: &used}
	}
	var st unix.Statfs_t
	if unix.Statfs(k.RootDir, &st) == nil {
		capacity, free := st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize)
		used := (st.Blocks - st.Bfree) * uint64(st.Bsize)
		n.FS = &server.FS{Time: now, CapacityBytes: &capacity, AvailableBytes: &free, UsedBytes: &used}
	}
	return n
}
