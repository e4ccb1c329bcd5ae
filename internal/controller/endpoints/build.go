package endpoints

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/utils/net"

	"clipper/internal/controller"
)

// most is how many addresses an Endpoints object lists; more are left out,
// those that are not ready first.
const most = 1000

// build returns the Endpoints of a Service. Addresses with the same ports
// share a subset.
func build(s *corev1.Service, pods []*corev1.Pod, trigger time.Time) *corev1.Endpoints {
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: labelsOf(s)}}
	note := func(k, v string) {
		if e.Annotations == nil {
			e.Annotations = map[string]string{}
		}
		e.Annotations[k] = v
	}
	if !trigger.IsZero() {
		note(corev1.EndpointsLastChangeTriggerTime, trigger.UTC().Format(time.RFC3339Nano))
	}
	at := map[string]int{}
	for _, p := range pods {
		a, ok := address(s, p)
		if !ok {
			continue
		}
		ports, name := ports(s, p)
		if len(s.Spec.Ports) > 0 && len(ports) == 0 {
			continue // it serves none of the ports
		}
		i, ok := at[name]
		if !ok {
			i = len(e.Subsets)
			at[name] = i
			e.Subsets = append(e.Subsets, corev1.EndpointSubset{Ports: ports})
		}
		sub := &e.Subsets[i]
		if _, ready := controller.PodReady(p); ready || s.Spec.PublishNotReadyAddresses {
			sub.Addresses = append(sub.Addresses, a)
		} else {
			sub.NotReadyAddresses = append(sub.NotReadyAddresses, a)
		}
	}
	for i := range e.Subsets {
		order(e.Subsets[i].Addresses)
		order(e.Subsets[i].NotReadyAddresses)
	}
	slices.SortFunc(e.Subsets, func(a, b corev1.EndpointSubset) int {
		return cmp.Compare(portsName(a.Ports), portsName(b.Ports))
	})
	if truncate(e.Subsets) {
		note(corev1.EndpointsOverCapacity, "truncated")
	}
	return e
}

func order(all []corev1.EndpointAddress) {
	slices.SortFunc(all, func(a, b corev1.EndpointAddress) int { return cmp.Compare(a.IP, b.IP) })
}

// address returns the pod's address of the Service's first family.
func address(s *corev1.Service, p *corev1.Pod) (a corev1.EndpointAddress, ok bool) {
	if controller.PodEnded(p) || p.DeletionTimestamp != nil && !s.Spec.PublishNotReadyAddresses {
		return a, false
	}
	ipv6 := len(s.Spec.IPFamilies) > 0 && s.Spec.IPFamilies[0] == corev1.IPv6Protocol
	if p.Status.PodIP != "" && utilnet.IsIPv6String(p.Status.PodIP) == ipv6 {
		a.IP = p.Status.PodIP
	}
	for i := 0; i < len(p.Status.PodIPs) && a.IP == ""; i++ {
		if ip := p.Status.PodIPs[i].IP; utilnet.IsIPv6String(ip) == ipv6 {
			a.IP = ip
		}
	}
	if a.IP == "" {
		return a, false
	}
	a.Hostname, a.TargetRef = controller.EndpointHostname(p, s), controller.PodRef(p)
	if p.Spec.NodeName != "" {
		a.NodeName = &p.Spec.NodeName
	}
	return a, true
}

func ports(s *corev1.Service, p *corev1.Pod) (out []corev1.EndpointPort, name string) {
	for i := range s.Spec.Ports {
		sp := &s.Spec.Ports[i]
		n, ok := controller.TargetPort(p, sp)
		if !ok {
			continue
		}
		protocol := sp.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		out = append(out, corev1.EndpointPort{Name: sp.Name, Port: n, Protocol: protocol, AppProtocol: sp.AppProtocol})
	}
	slices.SortStableFunc(out, func(a, b corev1.EndpointPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out, portsName(out)
}

func portsName(ports []corev1.EndpointPort) string {
	var b strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&b, "%q/%d/%s|", p.Name, p.Port, p.Protocol)
	}
	return b.String()
}

// truncate cuts the subsets down to most addresses, and tells whether it had to.
func truncate(subsets []corev1.EndpointSubset) (cut bool) {
	left := most
	take := func(all []corev1.EndpointAddress) []corev1.EndpointAddress {
		n := min(left, len(all))
		cut = cut || n < len(all)
		left -= n
		return all[:n:n]
	}
	for i := range subsets {
		subsets[i].Addresses = take(subsets[i].Addresses)
	}
	for i := range subsets {
		subsets[i].NotReadyAddresses = take(subsets[i].NotReadyAddresses)
	}
	return cut
}
