package kubelet

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	helper "k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"clipper/internal/kubelet/lifecycle"
)

// claim is what one admitted pod takes of the node.
type claim struct {
	requests v1.ResourceList
	ports    []hostPort
	class    v1.PodQOSClass
}

type hostPort struct {
	ip       string
	protocol v1.Protocol
	port     int32
}

func (p hostPort) clashes(o hostPort) bool {
	any := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	return p.port == o.port && p.protocol == o.protocol && (p.ip == o.ip || any(p.ip) || any(o.ip))
}

func claimOf(pod *v1.Pod) claim {
	c := claim{requests: helper.PodRequests(pod, helper.PodResourcesOptions{})}
	for _, list := range [...][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, p := range list[i].Ports {
				if p.HostPort > 0 {
					protocol := p.Protocol
					if protocol == "" {
						protocol = v1.ProtocolTCP
					}
					c.ports = append(c.ports, hostPort{p.HostIP, protocol, p.HostPort})
				}
			}
		}
	}
	return c
}

// refusal is why the node does not take a pod; reason is the pod's.
type refusal struct {
	reason, message string
	// byNode: it follows from the node's labels or taints, which others may
	// have changed since they were last read.
	byNode bool
}

// admitLocked lets a pod in, or gives it the verdict that the node refuses it.
// A pod that runs already, or is over, is not asked again. It returns false
// when the node's object must be read before the answer is known.
func (k *Kubelet) admitLocked(s *lifecycle.State, runs bool) bool {
	pod := s.Pod
	if s.Ending() {
		return true
	}
	c := claimOf(pod)
	if !runs {
		if r := k.refuseLocked(pod, c); r != nil {
			if r.byNode {
				return false
			}
			k.refuse(s, r)
			return true
		}
	}
	s.Admitted = true
	k.claimLocked(pod, c)
	return true
}

func (k *Kubelet) refuse(s *lifecycle.State, r *refusal) {
	s.End(lifecycle.Verdict{Phase: v1.PodFailed, Reason: r.reason, Message: "Pod was rejected: " + r.message, Refused: true})
	k.events.Pod(s.Pod, nil, v1.EventTypeWarning, r.reason, r.message)
}

// admitByNode reads the node's object and then decides on a pod.
func (a *actor) admitByNode() {
	k := a.k
	a.spawn(func() message {
		node, err := k.Client.CoreV1().Nodes().Get(a.begin, k.NodeName, metav1.GetOptions{})
		if a.begin.Err() != nil {
			return nil
		}
		return func(s *lifecycle.State) {
			k.mu.Lock()
			defer k.mu.Unlock()
			if err == nil {
				k.nodeLabels, k.nodeTaints = node.Labels, node.Spec.Taints
			} else {
				k.Logger.Warn("node not read, its labels may be old", "err", err)
			}
			if s.Ending() {
				return
			}
			c := claimOf(s.Pod)
			if r := k.refuseLocked(s.Pod, c); r != nil {
				k.refuse(s, r)
				return
			}
			s.Admitted = true
			k.claimLocked(s.Pod, c)
		}
	})
}

// release gives back what an ended pod claimed.
func (k *Kubelet) release(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.releaseLocked(uid)
}

func (k *Kubelet) releaseLocked(uid types.UID) {
	if _, ok := k.claimed[uid]; !ok {
		return
	}
	delete(k.claimed, uid)
	k.reweighLocked()
	k.retryDeferredLocked()
}

func (k *Kubelet) refuseLocked(pod *v1.Pod, c claim) *refusal {
	if os := pod.Spec.OS; os != nil && os.Name != v1.Linux {
		return &refusal{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS", false}
	}
	if text := forbiddenSysctl(pod, k.UnsafeSysctls); text != "" {
		return &refusal{"SysctlForbidden", text, false}
	}
	if !k.node.Machine.AppArmor && wantsAppArmor(pod) {
		return &refusal{"AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host", false}
	}
	node := &v1.Node{}
	node.Name, node.Labels = k.NodeName, k.nodeLabels
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node); err == nil && !ok {
		return &refusal{"NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector", true}
	}
	if t, found := corev1.FindMatchingUntoleratedTaint(logr.Discard(), k.nodeTaints, pod.Spec.Tolerations, func(t *v1.Taint) bool {
		return t.Effect == v1.TaintEffectNoExecute
	}, true); found {
		return &refusal{"TaintToleration", fmt.Sprintf("Predicate TaintToleration failed: node(s) had untolerated taint(s) {%s: %s}", t.Key, t.Value), true}
	}
	for _, o := range k.claimed {
		for _, p := range c.ports {
			if slices.ContainsFunc(o.ports, p.clashes) {
				return &refusal{"NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports", false}
			}
		}
	}
	if len(k.claimed) >= k.MaxPods {
		return outOf("pods", 1, int64(len(k.claimed)), int64(k.MaxPods))
	}
	return k.shortLocked(c)
}

// wantsAppArmor tells whether a container is to be confined by a profile.
func wantsAppArmor(pod *v1.Pod) bool {
	wants := func(p *v1.AppArmorProfile) bool { return p != nil && p.Type != v1.AppArmorProfileTypeUnconfined }
	if sc := pod.Spec.SecurityContext; sc != nil && wants(sc.AppArmorProfile) {
		return true
	}
	for _, list := range [...][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if sc := list[i].SecurityContext; sc != nil && wants(sc.AppArmorProfile) {
				return true
			}
		}
	}
	return false
}

// shortLocked says what the node has too little of beside the pods that are on
// it, or nil.
func (k *Kubelet) shortLocked(c claim) *refusal {
	used := v1.ResourceList{}
	for _, o := range k.claimed {
		for name, q := range o.requests {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.requests)) {
		request, sum := c.requests[name], used[name]
		capacity, known := k.spec.Allocatable[name]
		if request.IsZero() || !known {
			continue
		}
		total := sum.DeepCopy()
		total.Add(request)
		if total.Cmp(capacity) > 0 {
			return outOf(string(name), unit(name, &request), unit(name, &sum), unit(name, &capacity))
		}
	}
	return nil
}

func outOf(name string, requested, used, capacity int64) *refusal {
	return &refusal{"OutOf" + name, fmt.Sprintf(
		"Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, requested, used, capacity), false}
}
