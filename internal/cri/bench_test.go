package cri

import (
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// BenchmarkPodStart tells what a pod's start costs, stage by stage, one pod
// after another.
func BenchmarkPodStart(b *testing.B) {
	r := newBench(b)
	var sandbox, create, start, exec, remove time.Duration
	n := 0
	for b.Loop() {
		n++
		at := time.Now()
		lap := func(d *time.Duration) { now := time.Now(); *d += now.Sub(at); at = now }
		pod, _ := r.pod(func(c *runtimeapi.PodSandboxConfig) { c.LogDirectory = b.TempDir() })
		lap(&sandbox)
		id, err := r.CreateContainer(r.ctx, pod, r.config("c", "sleep"), nil)
		if err != nil {
			b.Fatal(err)
		}
		lap(&create)
		if err := r.StartContainer(r.ctx, id); err != nil {
			b.Fatal(err)
		}
		lap(&start)
		if _, _, err := r.ExecSync(r.ctx, id, []string{"/guest", "exit", "0"}, 0); err != nil {
			b.Fatal(err)
		}
		lap(&exec)
		if err := r.RemovePodSandbox(r.ctx, pod); err != nil {
			b.Fatal(err)
		}
		lap(&remove)
	}
	for name, d := range map[string]time.Duration{"sandbox": sandbox, "create": create, "start": start, "exec": exec, "remove": remove} {
		b.ReportMetric(float64(d.Microseconds())/1000/float64(n), name+"-ms/op")
	}
}
