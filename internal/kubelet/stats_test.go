package kubelet

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/kubelet/podspec"
)

// measuring tells what pods use, as a runtime does; whole says whether it knows
// of whole pods.
type measuring struct {
	internalapi.RuntimeService
	whole bool
}

func number(n uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: n} }

func (m *measuring) ListContainerStats(context.Context, *runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	stats := func(uid string) *runtimeapi.ContainerStats {
		return &runtimeapi.ContainerStats{
			Attributes: &runtimeapi.ContainerAttributes{Id: "abc", Labels: map[string]string{podspec.LabelPodUID: uid, podspec.LabelContainerName: "main"}},
			Cpu:        &runtimeapi.CpuUsage{Timestamp: 1, UsageCoreNanoSeconds: number(5)},
			Memory:     &runtimeapi.MemoryUsage{Timestamp: 1, WorkingSetBytes: number(6)},
		}
	}
	return []*runtimeapi.ContainerStats{stats("uid-web"), stats("uid-of-another")}, nil
}

func (m *measuring) ListPodSandboxStats(ctx context.Context, _ *runtimeapi.PodSandboxStatsFilter) ([]*runtimeapi.PodSandboxStats, error) {
	if !m.whole {
		return nil, status.Error(codes.Unimplemented, "no")
	}
	containers, _ := m.ListContainerStats(ctx, nil)
	return []*runtimeapi.PodSandboxStats{{
		Attributes: &runtimeapi.PodSandboxAttributes{Labels: map[string]string{podspec.LabelPodUID: "uid-web"}},
		Linux: &runtimeapi.LinuxPodSandboxStats{
			Cpu: &runtimeapi.CpuUsage{Timestamp: 1, UsageCoreNanoSeconds: number(50)}, Containers: containers,
			Network: &runtimeapi.NetworkUsage{
				Timestamp: 2, DefaultInterface: &runtimeapi.NetworkInterfaceUsage{Name: "eth0", RxBytes: number(7)},
				Interfaces: []*runtimeapi.NetworkInterfaceUsage{{Name: "eth1"}},
			},
			Process: &runtimeapi.ProcessUsage{ProcessCount: number(3)},
		},
	}}, nil
}

// What is measured comes with what the pod says, and a runtime that knows nothing
// of whole pods still tells of their containers.
func TestUsage(t *testing.T) {
	for _, whole := range []bool{true, false} {
		b := newBench(t, nil)
		b.cri.RuntimeService = &measuring{whole: whole}
		b.start()
		b.create(testPod("web", func(p *v1.Pod) {
			p.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("1Ki")}
		}))
		b.await("web", "running", running)
		sum, err := b.k.Usage(t.Context())
		if err != nil || len(sum.Pods) != 1 || len(sum.Pods[0].Containers) != 1 {
			t.Fatalf("%+v, %v", sum, err)
		}
		p := &sum.Pods[0]
		c := &p.Containers[0]
		if c.ID != "abc" || c.Image != "img:1" || c.StartTime.IsZero() || c.Limits.CPUQuota != 50_000 || c.Limits.Memory != 1024 || *c.CPU.UsageCoreNanoSeconds != 5 {
			t.Errorf("%+v", c)
		}
		if *p.Memory.WorkingSetBytes != 6 || p.Cgroup != "/kubepods/poduid-web" {
			t.Errorf("%+v", p)
		}
		if !whole {
			if *p.CPU.UsageCoreNanoSeconds != 5 || p.Network != nil {
				t.Errorf("%+v", p)
			}
			continue
		}
		if *p.CPU.UsageCoreNanoSeconds != 50 || *p.Processes != 3 || !p.Network.Time.Equal(time.Unix(0, 2)) || p.Network.Name != "eth0" || *p.Network.RxBytes != 7 || len(p.Network.Interfaces) != 2 {
			t.Errorf("%+v %+v", p, p.Network)
		}
	}
}
