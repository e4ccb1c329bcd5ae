package controller

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// SelectsPods tells whether clients of the Service reach pods: it has a
// selector and is no mere name.
func SelectsPods(s *corev1.Service) bool {
	return s.Spec.Type != corev1.ServiceTypeExternalName && len(s.Spec.Selector) > 0
}

// Headless tells whether the Service has no address of its own by choice.
func Headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

// TargetPort returns the number of the pod's port that a Service's port goes
// to; false if it is named and the pod has none of that name and protocol.
func TargetPort(pod *corev1.Pod, p *corev1.ServicePort) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		if p.TargetPort.IntVal == 0 {
			return p.Port, true
		}
		return p.TargetPort.IntVal, true
	}
	find := func(c *corev1.Container) (int32, bool) {
		for _, cp := range c.Ports {
			if cp.Name == p.TargetPort.StrVal && protocol(cp.Protocol) == protocol(p.Protocol) {
				return cp.ContainerPort, true
			}
		}
		return 0, false
	}
	for i := range pod.Spec.Containers {
		if n, ok := find(&pod.Spec.Containers[i]); ok {
			return n, true
		}
	}
	for i := range pod.Spec.InitContainers { // sidecars serve, too (KEP-753)
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		if n, ok := find(c); ok {
			return n, true
		}
	}
	return 0, false
}

func protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// EndpointHostname returns the name the pod has below the Service's, or "".
func EndpointHostname(pod *corev1.Pod, s *corev1.Service) string {
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == s.Name && pod.Namespace == s.Namespace {
		return pod.Spec.Hostname
	}
	return ""
}

// PodRef is how an endpoint refers to its pod.
func PodRef(pod *corev1.Pod) *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
}

// endpoint is what of a pod its Services' endpoints depend on.
type endpoint struct {
	uid                       types.UID
	ip, node, hostname, under string
	ips                       int
	ready, terminating, ended bool
}

func endpointOf(p *corev1.Pod) endpoint {
	_, ready := PodReady(p)
	return endpoint{
		p.UID, p.Status.PodIP, p.Spec.NodeName, p.Spec.Hostname, p.Spec.Subdomain, len(p.Status.PodIPs),
		ready, p.DeletionTimestamp != nil, PodEnded(p),
	}
}

// ServicesOf calls add with the keys of the Services whose endpoints a pod's
// change may change.
func ServicesOf(services corelisters.ServiceLister, before, now *corev1.Pod, add func(Key)) {
	pod := now
	if pod == nil {
		pod = before
	}
	relabelled := before != nil && now != nil && !labels.Equals(before.Labels, now.Labels)
	if before != nil && now != nil && !relabelled && endpointOf(before) == endpointOf(now) {
		return
	}
	if pod.Status.PodIP == "" && (before == nil || before.Status.PodIP == "") {
		return // not on the network, neither before nor now
	}
	all, _ := services.Services(pod.Namespace).List(labels.Everything())
	for _, s := range all {
		if SelectsPods(s) && (selects(s, pod) || relabelled && selects(s, before)) {
			add(KeyOf(s))
		}
	}
}

func selects(s *corev1.Service, p *corev1.Pod) bool {
	for k, v := range s.Spec.Selector {
		if have, ok := p.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// TriggerTime is when the change of a Service's endpoints began: the earliest
// time later than last that the Service was made or a pod became or ceased to
// be ready. newest is what last should be next; the time is zero if nothing
// that bears one has changed.
func TriggerTime(s *corev1.Service, pods []*corev1.Pod, last time.Time) (t, newest time.Time) {
	newest = last
	see := func(at metav1.Time) {
		if at.After(last) && (t.IsZero() || at.Time.Before(t)) {
			t = at.Time
		}
		if at.After(newest) {
			newest = at.Time
		}
	}
	see(s.CreationTimestamp)
	for _, p := range pods {
		if c := PodCondition(p, corev1.PodReady); c != nil {
			see(c.LastTransitionTime)
		}
	}
	return t, newest
}
