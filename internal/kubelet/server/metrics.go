package server

import (
	"net/http"

	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	v1 "k8s.io/api/core/v1"
)

// newMetrics returns what serves the agent's own metrics, with upstream's
// names. They are put together from the pods when they are asked for.
func newMetrics(name string, n Node, others []prometheus.Collector) http.Handler {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kubelet_"+name, help, labels, nil)
	}
	reg := prometheus.NewRegistry()
	named := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kubelet_node_name", Help: "The node's name. The count is always 1."}, []string{"node"})
	named.WithLabelValues(name).Set(1)
	reg.MustRegister(measure.Process(), named, &collector{
		node:       n,
		pods:       d("running_pods", "Number of pods that have a running pod sandbox"),
		containers: d("running_containers", "Number of containers currently running", "container_state"),
		desired:    d("desired_pods", "The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.", "static"),
	})
	reg.MustRegister(others...)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

type collector struct {
	node                      Node
	pods, containers, desired *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	running := 0
	pods := c.node.List()
	states := map[string]int{"created": 0, "running": 0, "exited": 0}
	for _, p := range pods {
		if p.Status.Phase == v1.PodRunning {
			running++
		}
		for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
			for i := range list {
				switch s := &list[i].State; {
				case s.Running != nil:
					states["running"]++
				case s.Terminated != nil:
					states["exited"]++
				case list[i].ContainerID != "":
					states["created"]++
				}
			}
		}
	}
	gauge(c.pods, running)
	gauge(c.desired, len(pods), "")
	for state, n := range states {
		gauge(c.containers, n, state)
	}
}
