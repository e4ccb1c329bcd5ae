package strategy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Addresses and ports of Services are allocated by the API server after this.
func service() *Strategy {
	s := halves(
		func(v *corev1.Service) *corev1.ServiceSpec { return &v.Spec },
		func(v *corev1.Service) *corev1.ServiceStatus { return &v.Status },
		false, nil)
	s.CreateOnUpdate = true
	create, update := s.Create, s.Update
	s.Create = func(o runtime.Object) {
		create(o)
		normalize(&o.(*corev1.Service).Spec, nil)
		dropUnused(&o.(*corev1.Service).Spec)
	}
	s.Update = func(o, was runtime.Object) {
		update(o, was)
		normalize(&o.(*corev1.Service).Spec, &was.(*corev1.Service).Spec)
		patchService(o.(*corev1.Service), was.(*corev1.Service))
		dropUnused(&o.(*corev1.Service).Spec)
	}
	return s
}

// normalize makes the list of addresses what the first says, where only that is
// stated or has been changed.
func normalize(s *corev1.ServiceSpec, old *corev1.ServiceSpec) {
	switch {
	case old == nil:
		if s.ClusterIP != "" && len(s.ClusterIPs) == 0 {
			s.ClusterIPs = []string{s.ClusterIP}
		}
	case s.ClusterIP != old.ClusterIP && slices.Equal(s.ClusterIPs, old.ClusterIPs):
		s.ClusterIPs = nil
		if s.ClusterIP != "" {
			s.ClusterIPs = []string{s.ClusterIP}
		}
	}
}

// dropUnused takes from an alias what only addresses have.
func dropUnused(s *corev1.ServiceSpec) {
	if p := s.InternalTrafficPolicy; s.Type == corev1.ServiceTypeExternalName && p != nil &&
		(*p == corev1.ServiceInternalTrafficPolicyCluster || *p == corev1.ServiceInternalTrafficPolicyLocal) { // others are refused
		s.InternalTrafficPolicy = nil
	}
}

// patchService carries over what was allocated and the user did not state, and
// drops what the new type no longer has, so that a manifest without it can be
// put again, and the type changed by its name alone.
func patchService(svc, old *corev1.Service) {
	n, o := &svc.Spec, &old.Spec
	if wantsClusterIP(n) && wantsClusterIP(o) {
		if n.ClusterIP == "" && len(n.ClusterIPs) == 0 {
			n.ClusterIP, n.ClusterIPs = o.ClusterIP, o.ClusterIPs
		}
		if n.ClusterIP == o.ClusterIP && len(n.ClusterIPs) == 0 {
			n.ClusterIPs = o.ClusterIPs
		}
		if len(n.IPFamilies) == 0 {
			n.IPFamilies = o.IPFamilies
		}
		if n.IPFamilyPolicy == nil {
			n.IPFamilyPolicy = o.IPFamilyPolicy
		}
	}
	if wantsClusterIP(o) && !wantsClusterIP(n) {
		if n.ClusterIP == o.ClusterIP && slices.Equal(n.ClusterIPs, o.ClusterIPs) {
			n.ClusterIP, n.ClusterIPs = "", nil
		}
		if slices.Equal(n.IPFamilies, o.IPFamilies) {
			n.IPFamilies = nil
		}
		if p := n.IPFamilyPolicy; p != nil && o.IPFamilyPolicy != nil && *p == *o.IPFamilyPolicy {
			n.IPFamilyPolicy = nil
		}
	}
	if WantsNodePorts(n) && WantsNodePorts(o) {
		keepNodePorts(n, o)
	}
	if WantsNodePorts(o) && !WantsNodePorts(n) {
		had := map[int32]bool{}
		for _, p := range o.Ports {
			had[p.NodePort] = true
		}
		for i := range n.Ports {
			if had[n.Ports[i].NodePort] {
				n.Ports[i].NodePort = 0
			}
		}
	}
	if WantsHealthCheckPort(n) && WantsHealthCheckPort(o) && n.HealthCheckNodePort == 0 {
		n.HealthCheckNodePort = o.HealthCheckNodePort
	}
	if !WantsHealthCheckPort(n) && n.HealthCheckNodePort == o.HealthCheckNodePort {
		n.HealthCheckNodePort = 0
	}
	if o.Type == corev1.ServiceTypeLoadBalancer && n.Type != corev1.ServiceTypeLoadBalancer {
		if n.AllocateLoadBalancerNodePorts != nil && o.AllocateLoadBalancerNodePorts != nil &&
			*n.AllocateLoadBalancerNodePorts == *o.AllocateLoadBalancerNodePorts {
			n.AllocateLoadBalancerNodePorts = nil
		}
		if n.LoadBalancerClass != nil && o.LoadBalancerClass != nil && *n.LoadBalancerClass == *o.LoadBalancerClass {
			n.LoadBalancerClass = nil
		}
		svc.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
	if fromOutside(o) && !fromOutside(n) && n.ExternalTrafficPolicy == o.ExternalTrafficPolicy {
		n.ExternalTrafficPolicy = ""
	}
	if o.Type == corev1.ServiceTypeExternalName && n.Type != corev1.ServiceTypeExternalName && n.ExternalName == o.ExternalName {
		n.ExternalName = ""
	}
}

// keepNodePorts gives ports that state no node port the one that the port of
// their name had, unless another claims it.
func keepNodePorts(n, o *corev1.ServiceSpec) {
	var claimed []int32
	for _, p := range n.Ports {
		claimed = append(claimed, p.NodePort)
	}
	for i := range n.Ports {
		p := &n.Ports[i]
		was := slices.IndexFunc(o.Ports, func(q corev1.ServicePort) bool { return q.Name == p.Name })
		if p.NodePort == 0 && was >= 0 && !slices.Contains(claimed, o.Ports[was].NodePort) {
			p.NodePort = o.Ports[was].NodePort
		}
	}
}

func wantsClusterIP(s *corev1.ServiceSpec) bool { return s.Type != corev1.ServiceTypeExternalName }

// fromOutside tells whether the Service is reached from outside the cluster.
func fromOutside(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeLoadBalancer || s.Type == corev1.ServiceTypeNodePort ||
		s.Type == corev1.ServiceTypeClusterIP && len(s.ExternalIPs) > 0
}

// WantsNodePorts tells whether ports of the Service get node ports.
func WantsNodePorts(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeNodePort ||
		s.Type == corev1.ServiceTypeLoadBalancer && (s.AllocateLoadBalancerNodePorts == nil || *s.AllocateLoadBalancerNodePorts)
}

// WantsHealthCheckPort tells whether the Service gets a node port of its own
// for load balancers to ask whether a node has endpoints.
func WantsHealthCheckPort(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeLoadBalancer && s.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}
