package cri

import (
	"bufio"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// layerFresh is how long the size of a writable layer is taken as known:
// finding it means looking at every file.
const layerFresh = time.Minute

// sample is what a container used at some time, kept to tell rates.
type sample struct {
	at    time.Time
	cpu   uint64
	nanos *uint64 // the rate that was found last

	layerAt    time.Time
	layerBytes uint64
	layerFiles uint64
}

func value(v uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: v} }

// ContainerStats returns what a container uses.
func (r *Runtime) ContainerStats(_ context.Context, id string) (*runtimeapi.ContainerStats, error) {
	c, err := r.findContainer(id)
	if err != nil {
		return nil, err
	}
	return r.containerStats(c), nil
}

// ListContainerStats returns what the running containers use that the filter
// lets through.
func (r *Runtime) ListContainerStats(_ context.Context, filter *runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	var list []*runtimeapi.ContainerStats
	for _, c := range r.runningContainers(func(c *container) bool {
		return strings.HasPrefix(c.id, filter.GetId()) &&
			strings.HasPrefix(c.sandbox.id, filter.GetPodSandboxId()) &&
			matches(filter.GetLabelSelector(), c.config.Labels)
	}) {
		list = append(list, r.containerStats(c))
	}
	return list, nil
}

func (r *Runtime) runningContainers(want func(*container) bool) (list []*container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING && !c.removing && want(c) {
			list = append(list, c)
		}
	}
	return list
}

func (r *Runtime) containerStats(c *container) *runtimeapi.ContainerStats {
	now := r.clock.Now()
	stats := &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id:          c.id,
			Metadata:    c.config.Metadata,
			Labels:      c.config.Labels,
			Annotations: c.config.Annotations,
		},
	}
	cgroup := r.cgroupOf(c)
	c.statsMu.Lock()
	defer c.statsMu.Unlock()
	if used, ok := r.cpuUsed(cgroup); ok {
		stats.Cpu = c.stats.rate(now, used)
	}
	stats.Memory = r.memoryUsed(cgroup, now)
	if now.Sub(c.stats.layerAt) > layerFresh {
		c.stats.layerBytes, c.stats.layerFiles = diskUsed(r.statePath("containers", c.id, "upper"))
		c.stats.layerAt = now
	}
	stats.WritableLayer = &runtimeapi.FilesystemUsage{
		Timestamp:  now.UnixNano(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: r.statePath("containers")},
		UsedBytes:  value(c.stats.layerBytes),
		InodesUsed: value(c.stats.layerFiles),
	}
	return stats
}

// rate is the use of processors, and how fast it grew since the last look.
func (s *sample) rate(now time.Time, used uint64) *runtimeapi.CpuUsage {
	if d := now.Sub(s.at); !s.at.IsZero() && d > 0 && used >= s.cpu {
		nanos := uint64(float64(used-s.cpu) / d.Seconds())
		s.nanos = &nanos
	}
	s.at, s.cpu = now, used
	usage := &runtimeapi.CpuUsage{Timestamp: now.UnixNano(), UsageCoreNanoSeconds: value(used)}
	if s.nanos != nil {
		usage.UsageNanoCores = value(*s.nanos)
	}
	return usage
}

func (r *Runtime) cpuUsed(cgroup string) (uint64, bool) {
	if r.host.unified {
		v, ok := keyed(filepath.Join(r.host.cgroupDir("cpu", cgroup), "cpu.stat"))["usage_usec"]
		return v * 1000, ok
	}
	return number64(filepath.Join(r.host.cgroupDir("cpuacct", cgroup), "cpuacct.usage"))
}

func (r *Runtime) memoryUsed(cgroup string, now time.Time) *runtimeapi.MemoryUsage {
	dir := r.host.cgroupDir("memory", cgroup)
	used, limit, stat, prefix := "memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat", "total_"
	rss := "total_rss"
	if r.host.unified {
		used, limit, prefix, rss = "memory.current", "memory.max", "", "anon"
	}
	usage, ok := number64(filepath.Join(dir, used))
	if !ok {
		return nil
	}
	values := keyed(filepath.Join(dir, stat))
	working := usage - min(usage, values[prefix+"inactive_file"])
	m := &runtimeapi.MemoryUsage{
		Timestamp:       now.UnixNano(),
		UsageBytes:      value(usage),
		WorkingSetBytes: value(working),
		RssBytes:        value(values[rss]),
		PageFaults:      value(values[prefix+"pgfault"]),
		MajorPageFaults: value(values[prefix+"pgmajfault"]),
	}
	// A limit near the largest number is none.
	if most, ok := number64(filepath.Join(dir, limit)); ok && most < 1<<62 {
		m.AvailableBytes = value(most - min(most, working))
	}
	return m
}

// PodSandboxStats returns what a pod uses.
func (r *Runtime) PodSandboxStats(_ context.Context, id string) (*runtimeapi.PodSandboxStats, error) {
	s, err := r.findSandbox(id)
	if err != nil {
		return nil, err
	}
	return r.sandboxStats(s), nil
}

// ListPodSandboxStats returns what the running pods use that the filter lets
// through.
func (r *Runtime) ListPodSandboxStats(_ context.Context, filter *runtimeapi.PodSandboxStatsFilter) ([]*runtimeapi.PodSandboxStats, error) {
	var pods []*sandbox
	r.mu.Lock()
	for _, s := range r.sandboxes {
		if s.ready && strings.HasPrefix(s.id, filter.GetId()) && matches(filter.GetLabelSelector(), s.config.Labels) {
			pods = append(pods, s)
		}
	}
	r.mu.Unlock()
	var list []*runtimeapi.PodSandboxStats
	for _, s := range pods {
		list = append(list, r.sandboxStats(s))
	}
	return list, nil
}

func (r *Runtime) sandboxStats(s *sandbox) *runtimeapi.PodSandboxStats {
	now := r.clock.Now()
	linux := &runtimeapi.LinuxPodSandboxStats{Network: r.networkUsed(s, now)}
	cgroup := r.cgroupParent(s)
	s.statsMu.Lock()
	if used, ok := r.cpuUsed(cgroup); ok {
		linux.Cpu = s.stats.rate(now, used)
	}
	s.statsMu.Unlock()
	linux.Memory = r.memoryUsed(cgroup, now)
	for _, c := range r.runningContainers(func(c *container) bool { return c.sandbox == s }) {
		linux.Containers = append(linux.Containers, r.containerStats(c))
	}
	if pids, err := cgroupPIDs(r.host.cgroupDir("pids", cgroup)); err == nil {
		linux.Process = &runtimeapi.ProcessUsage{Timestamp: now.UnixNano(), ProcessCount: value(uint64(len(pids)))}
	}
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id: s.id, Metadata: s.config.Metadata, Labels: s.config.Labels, Annotations: s.config.Annotations,
		},
		Linux: linux,
	}
}

// networkUsed reads the counters of a pod's interfaces; a pod on the node's
// network has none of its own.
func (r *Runtime) networkUsed(s *sandbox, now time.Time) *runtimeapi.NetworkUsage {
	if namespaceFlags(namespaceOptions(s.config))&unix.CLONE_NEWNET == 0 {
		return nil
	}
	var raw []byte
	if err := inNamespaces(r.runPath("sandboxes", s.id), func() (err error) {
		raw, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	}); err != nil {
		return nil
	}
	usage := &runtimeapi.NetworkUsage{Timestamp: now.UnixNano()}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		f := strings.Fields(rest)
		name = strings.TrimSpace(name)
		if !ok || len(f) < 16 || name == "lo" {
			continue
		}
		at := func(i int) *runtimeapi.UInt64Value {
			n, _ := strconv.ParseUint(f[i], 10, 64)
			return value(n)
		}
		one := &runtimeapi.NetworkInterfaceUsage{Name: name, RxBytes: at(0), RxErrors: at(2), TxBytes: at(8), TxErrors: at(10)}
		if usage.DefaultInterface == nil {
			usage.DefaultInterface = one
		} else {
			usage.Interfaces = append(usage.Interfaces, one)
		}
	}
	return usage
}

// ListMetricDescriptors names no metrics: those of containers come from stats.
func (r *Runtime) ListMetricDescriptors(context.Context) ([]*runtimeapi.MetricDescriptor, error) {
	return nil, status.Error(codes.Unimplemented, "method ListMetricDescriptors not implemented")
}

// ListPodSandboxMetrics gives no metrics: those of containers come from stats.
func (r *Runtime) ListPodSandboxMetrics(context.Context) ([]*runtimeapi.PodSandboxMetrics, error) {
	return nil, status.Error(codes.Unimplemented, "method ListPodSandboxMetrics not implemented")
}

// number64 reads a file that holds one number; "max" is the largest.
func number64(path string) (uint64, bool) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	text := strings.TrimSpace(string(raw))
	if text == "max" {
		return 1<<64 - 1, true
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

// keyed reads a file of lines with a name and a number each.
func keyed(path string) map[string]uint64 {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	values := map[string]uint64{}
	for line := range strings.Lines(string(raw)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			values[name] = n
		}
	}
	return values
}

// diskUsed adds up a folder's files.
func diskUsed(dir string) (bytes, files uint64) {
	filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			bytes += uint64(st.Blocks) * 512
			files++
		}
		return nil // what is gone meanwhile takes nothing
	})
	return bytes, files
}
