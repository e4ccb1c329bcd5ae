package scheduler

import (
	"context"
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkDecide decides on b.N pods over 1,000 nodes, up to the call of the
// API: for pods of one class, of many, and with affinity to other pods.
func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name string
		pod  func(i int) *v1.Pod
	}{
		{"same", func(i int) *v1.Pod {
			return newPod(fmt.Sprint("p", i), requests(v1.ResourceCPU, "1m"), label("app", "a"))
		}},
		{"classes=50", func(i int) *v1.Pod {
			return newPod(fmt.Sprint("p", i), requests(v1.ResourceCPU, fmt.Sprint(i%50, "m")))
		}},
		{"distinct", func(i int) *v1.Pod {
			return newPod(fmt.Sprint("p", i), requests(v1.ResourceMemory, fmt.Sprint(i)))
		}},
		{"spread", func(i int) *v1.Pod {
			return newPod(fmt.Sprint("p", i), label("app", "a"), func(p *v1.Pod) {
				p.Spec.TopologySpreadConstraints = []v1.TopologySpreadConstraint{{
					MaxSkew: 1, TopologyKey: v1.LabelHostname, WhenUnsatisfiable: v1.DoNotSchedule,
					LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}},
				}}
			})
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := quick(b, &stubClient{})
			for i := range 1000 {
				s.onNode(newNode(fmt.Sprint("n", i), allocatable(v1.ResourcePods, "1000000"), allocatable(v1.ResourceMemory, "1Ti"), allocatable(v1.ResourceCPU, "1000000")))
			}
			pods := make([]*v1.Pod, b.N)
			for i := range pods {
				pods[i] = c.pod(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, p := range pods {
				s.onPod(p)
				if !s.scheduleOne(context.Background()) {
					b.Fatal("no pod")
				}
			}
			b.StopTimer()
			s.binders.wait()
			s.reporters.wait()
		})
	}
}

// BenchmarkPreempt looks for room on 1,000 nodes with 30 pods each: where there
// is some, where all pods are as important, and where none is without another's
// priority; and for a pod with anti-affinity.
func BenchmarkPreempt(b *testing.B) {
	for _, c := range []struct {
		name     string
		priority int32
		options  []podOption
	}{
		{"found", 100, nil},
		{"equal", 10, nil},
		{"too few below", 15, nil},
		{"coupled", 100, []podOption{label("app", "web"), apart(podTerm_(v1.LabelHostname))}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := quick(b, &stubClient{})
			for i := range 1000 {
				name := fmt.Sprint("n", i)
				s.onNode(newNode(name, allocatable(v1.ResourceCPU, "30")))
				for j := range 30 {
					priority := int32(10)
					if j > 0 {
						priority = 20
					}
					s.onPod(placedPod(fmt.Sprint("on", i, "-", j), name, priority, "1", label("app", "web")))
				}
			}
			it := &item{}
			pod := newPod("p", append([]podOption{withPriority(c.priority), requests(v1.ResourceCPU, "2")}, c.options...)...)
			s.queue.set(pod, testTime)
			it = s.queue.pop(testTime)
			_, why := s.decide(it)
			b.ReportAllocs()
			for b.Loop() {
				it.class.vain = vain{}
				s.preempt(it, why)
			}
		})
	}
}
