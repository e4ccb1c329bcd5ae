package podspec

import (
	"math"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/kubelet/lifecycle"
)

const (
	cpuPeriod = 100_000 // microseconds
	minQuota  = 1_000
	minShares = 2
	maxShares = 262_144
	// OOM scores: the kernel kills the highest first.
	oomGuaranteed = -997
	oomBestEffort = 1000
	// systemCritical is the least priority of system-node-critical and
	// system-cluster-critical pods.
	systemCritical = 2_000_000_000
)

// Shares converts a cpu request in thousandths to cpu.shares.
func Shares(milli int64) int64 {
	if milli == 0 {
		return minShares
	}
	return min(max(milli*1024/1000, minShares), maxShares)
}

// quota converts a cpu limit to a quota within cpuPeriod; 0 is no limit.
func quota(milli int64) int64 {
	if milli == 0 {
		return 0
	}
	return max(milli*cpuPeriod/1000, minQuota)
}

// Resources returns what the runtime is to give a container.
func (n *Node) Resources(pod *v1.Pod, c *v1.Container) *runtimeapi.LinuxContainerResources {
	limits, requests := c.Resources.Limits, c.Resources.Requests
	request := requests.Cpu().MilliValue()
	if _, ok := requests[v1.ResourceCPU]; !ok {
		request = limits.Cpu().MilliValue()
	}
	r := &runtimeapi.LinuxContainerResources{
		CpuPeriod:          cpuPeriod,
		CpuQuota:           quota(limits.Cpu().MilliValue()),
		CpuShares:          Shares(request),
		MemoryLimitInBytes: limits.Memory().Value(),
		OomScoreAdj:        n.oomScore(pod, c),
	}
	r.MemorySwapLimitInBytes = r.MemoryLimitInBytes
	for name, q := range limits {
		if size, ok := hugePage(name); ok {
			r.HugepageLimits = append(r.HugepageLimits, &runtimeapi.HugepageLimit{PageSize: size, Limit: uint64(q.Value())})
		}
	}
	if n.Unified {
		// One process out of memory takes the whole container down.
		r.Unified = map[string]string{"memory.oom.group": "1"}
	}
	return r
}

func (n *Node) oomScore(pod *v1.Pod, c *v1.Container) int64 {
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical {
		return oomGuaranteed
	}
	switch lifecycle.QOS(pod) {
	case v1.PodQOSGuaranteed:
		return oomGuaranteed
	case v1.PodQOSBestEffort:
		return oomBestEffort
	}
	if n.Memory <= 0 {
		return oomBestEffort - 1
	}
	score := int64(oomBestEffort) - int64(math.Round(oomBestEffort*float64(c.Resources.Requests.Memory().Value())/float64(n.Memory)))
	// Between the guaranteed ones and those without any request.
	return min(max(score, oomBestEffort+oomGuaranteed), oomBestEffort-1)
}

// CgroupParent is the cgroup of all of the pod's containers, below the one of
// its quality of service class.
func (n *Node) CgroupParent(pod *v1.Pod) string {
	return n.ClassCgroup(lifecycle.QOS(pod)) + "/pod" + string(pod.UID)
}

// ClassCgroup is the cgroup of all pods of a class.
func (n *Node) ClassCgroup(class v1.PodQOSClass) string {
	switch class {
	case v1.PodQOSBurstable:
		return n.CgroupRoot + "/burstable"
	case v1.PodQOSBestEffort:
		return n.CgroupRoot + "/besteffort"
	}
	return n.CgroupRoot
}

// PodResources returns what the pod's cgroup is to give all of its containers
// together. A limit counts only if every container has one.
func PodResources(pod *v1.Pod) *runtimeapi.LinuxContainerResources {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	limits := resource.PodLimits(pod, resource.PodResourcesOptions{})
	cpu, memory := true, true
	each := func(list []v1.Container) {
		for i := range list {
			cpu = cpu && !list[i].Resources.Limits.Cpu().IsZero()
			memory = memory && !list[i].Resources.Limits.Memory().IsZero()
		}
	}
	each(pod.Spec.Containers)
	each(pod.Spec.InitContainers)
	if r := pod.Spec.Resources; r != nil {
		cpu = cpu || !r.Limits.Cpu().IsZero()
		memory = memory || !r.Limits.Memory().IsZero()
	}
	out := &runtimeapi.LinuxContainerResources{CpuShares: Shares(requests.Cpu().MilliValue())}
	if cpu {
		out.CpuPeriod, out.CpuQuota = cpuPeriod, quota(limits.Cpu().MilliValue())
	}
	if memory {
		out.MemoryLimitInBytes = limits.Memory().Value()
	}
	return out
}

func hugePage(name v1.ResourceName) (size string, ok bool) {
	const prefix = v1.ResourceHugePagesPrefix
	if len(name) <= len(prefix) || string(name[:len(prefix)]) != prefix {
		return "", false
	}
	// CRI takes 2MB where the API says 2Mi.
	s := string(name[len(prefix):])
	if s[len(s)-1] == 'i' {
		s = s[:len(s)-1] + "B"
	}
	return s, true
}
