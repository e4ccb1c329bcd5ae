package table

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

var service = show(
	columns(name,
		text("Type", "How the service is reached."),
		text("Cluster-IP", "Address within the cluster."),
		text("External-IP", "Addresses outside the cluster."),
		text("Port(s)", "Ports, and the nodes' ports that lead to them."),
		age,
		wide(text("Selector", "Labels of the pods behind the service."))),
	func(now time.Time, s *corev1.Service) []any {
		ip := none
		if len(s.Spec.ClusterIPs) > 0 {
			ip = s.Spec.ClusterIPs[0]
		}
		return []any{
			s.Name, string(s.Spec.Type), ip, externalIP(s), list(servicePorts(s)),
			since(now, s.CreationTimestamp), labels.FormatLabels(s.Spec.Selector),
		}
	},
)

func externalIP(s *corev1.Service) string {
	switch s.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		ips := make([]string, 0, len(s.Status.LoadBalancer.Ingress)+len(s.Spec.ExternalIPs))
		for _, in := range s.Status.LoadBalancer.Ingress {
			if a := or(in.IP, in.Hostname); a != "" {
				ips = append(ips, a)
			}
		}
		return or(strings.Join(append(distinct(ips), s.Spec.ExternalIPs...), ","), "<pending>")
	}
	return list(s.Spec.ExternalIPs)
}

func servicePorts(s *corev1.Service) []string {
	out := make([]string, len(s.Spec.Ports))
	for i, p := range s.Spec.Ports {
		if p.NodePort > 0 {
			out[i] = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
		} else {
			out[i] = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		}
	}
	return out
}
