package scheduler

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// resources are amounts in the units that are compared: millicores for CPU,
// bytes, and whole pieces for what is extended.
type resources struct {
	cpu, memory, ephemeral int64
	other                  map[v1.ResourceName]int64
}

func resourcesOf(list v1.ResourceList) (r resources) {
	for name, q := range list {
		switch name {
		case v1.ResourceCPU:
			r.cpu = q.MilliValue()
		case v1.ResourceMemory:
			r.memory = q.Value()
		case v1.ResourceEphemeralStorage:
			r.ephemeral = q.Value()
		case v1.ResourcePods:
		default:
			if r.other == nil {
				r.other = map[v1.ResourceName]int64{}
			}
			r.other[name] = q.Value()
		}
	}
	return r
}

// add adds o times sign.
func (r *resources) add(o *resources, sign int64) {
	r.cpu += sign * o.cpu
	r.memory += sign * o.memory
	r.ephemeral += sign * o.ephemeral
	for name, n := range o.other {
		if r.other == nil {
			r.other = map[v1.ResourceName]int64{}
		}
		if r.other[name] += sign * n; r.other[name] == 0 {
			delete(r.other, name)
		}
	}
}

func (r *resources) equal(o *resources) bool {
	return r.cpu == o.cpu && r.memory == o.memory && r.ephemeral == o.ephemeral && maps.Equal(r.other, o.other)
}

// What a container is taken to need, when nodes are scored, if it does not say.
const (
	defaultMilliCPU = 100
	defaultMemory   = 200 << 20
)

// hostPort is one that a pod takes on its node.
type hostPort struct {
	ip, protocol string
	port         int32
}

func (p hostPort) conflicts(o hostPort) bool {
	return p.port == o.port && p.protocol == o.protocol && (p.ip == o.ip || p.ip == anyIP || o.ip == anyIP)
}

const anyIP = "0.0.0.0"

// load is what a pod takes on its node.
type load struct {
	requests resources
	// The requests that scores count with: containers that do not say get the
	// defaults.
	scoreCPU, scoreMemory int64
	ports                 []hostPort
}

func loadOf(pod *v1.Pod) *load {
	l := &load{requests: resourcesOf(resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{UseStatusResources: true}))}
	scored := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{
		UseStatusResources: true,
		NonMissingContainerRequests: v1.ResourceList{
			v1.ResourceCPU:    *resource.NewMilliQuantity(defaultMilliCPU, resource.DecimalSI),
			v1.ResourceMemory: *resource.NewQuantity(defaultMemory, resource.BinarySI),
		},
	})
	l.scoreCPU, l.scoreMemory = scored.Cpu().MilliValue(), scored.Memory().Value()
	add := func(containers []v1.Container) {
		for i := range containers {
			for _, p := range containers[i].Ports {
				if p.HostPort <= 0 {
					continue
				}
				hp := hostPort{ip: p.HostIP, protocol: string(p.Protocol), port: p.HostPort}
				if hp.ip == "" {
					hp.ip = anyIP
				}
				if hp.protocol == "" {
					hp.protocol = string(v1.ProtocolTCP)
				}
				l.ports = append(l.ports, hp)
			}
		}
	}
	add(pod.Spec.Containers)
	for i := range pod.Spec.InitContainers {
		// Those that go on beside the others keep their ports.
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			add(pod.Spec.InitContainers[i : i+1])
		}
	}
	return l
}

func (l *load) equal(o *load) bool {
	if l == o {
		return true
	}
	if len(l.ports) != len(o.ports) || l.scoreCPU != o.scoreCPU || l.scoreMemory != o.scoreMemory {
		return false
	}
	for i := range l.ports {
		if l.ports[i] != o.ports[i] {
			return false
		}
	}
	return l.requests.equal(&o.requests)
}
