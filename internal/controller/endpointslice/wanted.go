package endpointslice

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	utilnet "k8s.io/utils/net"

	"clipper/internal/controller"
)

// wanted computes the endpoints of one Service.
type wanted struct {
	service *corev1.Service
	node    func(name string) (*corev1.Node, error)
	zones   map[string]*string // by node, so that endpoints share them
}

// groups returns the pods' endpoints. Pods with other numbers for the same
// named ports are in other groups.
func (w *wanted) groups(pods []*corev1.Pod) (groups []Group) {
	at := map[string]int{}
	for _, family := range families(w.service) {
		for _, p := range pods {
			e, ok := w.endpoint(p, family)
			if !ok {
				continue
			}
			ports := w.ports(p)
			k := key(family, ports)
			i, ok := at[k]
			if !ok {
				i = len(groups)
				at[k] = i
				groups = append(groups, Group{Family: family, Ports: ports})
			}
			groups[i].Endpoints = append(groups[i].Endpoints, e)
		}
	}
	return groups
}

func (w *wanted) ports(p *corev1.Pod) []discoveryv1.EndpointPort {
	ports := make([]discoveryv1.EndpointPort, 0, len(w.service.Spec.Ports))
	for i := range w.service.Spec.Ports {
		sp := &w.service.Spec.Ports[i]
		n, ok := controller.TargetPort(p, sp)
		if !ok {
			continue // this pod does not serve that port
		}
		protocol := sp.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		ports = append(ports, discoveryv1.EndpointPort{Name: &sp.Name, Port: &n, Protocol: &protocol, AppProtocol: sp.AppProtocol})
	}
	return ports
}

func (w *wanted) endpoint(p *corev1.Pod, family discoveryv1.AddressType) (e discoveryv1.Endpoint, ok bool) {
	if controller.PodEnded(p) {
		return e, false
	}
	for _, ip := range p.Status.PodIPs {
		if utilnet.IsIPv6String(ip.IP) == (family == discoveryv1.AddressTypeIPv6) {
			e.Addresses = append(e.Addresses, ip.IP)
		}
	}
	if len(p.Status.PodIPs) == 0 && p.Status.PodIP != "" && utilnet.IsIPv6String(p.Status.PodIP) == (family == discoveryv1.AddressTypeIPv6) {
		e.Addresses = []string{p.Status.PodIP}
	}
	if len(e.Addresses) == 0 {
		return e, false
	}
	zone, there := w.zone(p.Spec.NodeName)
	if !there && !w.service.Spec.PublishNotReadyAddresses {
		return e, false // its node is gone, and it soon will be
	}
	_, serving := controller.PodReady(p)
	terminating := p.DeletionTimestamp != nil
	ready := serving && !terminating || w.service.Spec.PublishNotReadyAddresses
	e.Conditions = discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}
	e.TargetRef = controller.PodRef(p)
	if p.Spec.NodeName != "" {
		e.NodeName = &p.Spec.NodeName
	}
	e.Zone = zone
	if h := controller.EndpointHostname(p, w.service); h != "" {
		e.Hostname = &h
	}
	if ready {
		e.Hints = w.hints(&e)
	}
	return e, true
}

// hints keep traffic close, as the Service prefers it (KEP-4444, KEP-3015).
func (w *wanted) hints(e *discoveryv1.Endpoint) *discoveryv1.EndpointHints {
	preference := ""
	if w.service.Spec.TrafficDistribution != nil {
		preference = *w.service.Spec.TrafficDistribution
	}
	h := &discoveryv1.EndpointHints{}
	switch preference {
	case corev1.ServiceTrafficDistributionPreferSameNode:
		if e.NodeName != nil {
			h.ForNodes = []discoveryv1.ForNode{{Name: *e.NodeName}}
		}
		fallthrough
	case corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferClose:
		if e.Zone != nil {
			h.ForZones = []discoveryv1.ForZone{{Name: *e.Zone}}
		}
	}
	if h.ForNodes == nil && h.ForZones == nil {
		return nil
	}
	return h
}

// zone returns the zone of a node, nil if it has none, and whether the node is
// there. A pod without a node counts as on one.
func (w *wanted) zone(node string) (zone *string, there bool) {
	if node == "" {
		return nil, true
	}
	if z, ok := w.zones[node]; ok {
		return z, true
	}
	n, err := w.node(node)
	if err != nil {
		return nil, !apierrors.IsNotFound(err)
	}
	if z := n.Labels[corev1.LabelTopologyZone]; z != "" {
		zone = &z
	}
	w.zones[node] = zone
	return zone, true
}

const byService = "service"

// Index adds the index that Of reads.
func Index(informer cache.SharedIndexInformer) cache.Indexer {
	if _, there := informer.GetIndexer().GetIndexers()[byService]; !there {
		err := informer.AddIndexers(cache.Indexers{byService: func(obj any) ([]string, error) {
			s, ok := obj.(*discoveryv1.EndpointSlice)
			if !ok {
				return nil, fmt.Errorf("%T is no EndpointSlice", obj)
			}
			return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
		}})
		if err != nil {
			panic(fmt.Sprintf("index by service: %v", err)) // the informer has been stopped
		}
	}
	return informer.GetIndexer()
}

// Of returns the slices of a Service that are the manager's.
func Of(index cache.Indexer, service controller.Key, manager string) (out []*discoveryv1.EndpointSlice) {
	objs, err := index.ByIndex(byService, service.Namespace+"/"+service.Name)
	if err != nil {
		panic(fmt.Sprintf("index by service: %v", err)) // Index was not called
	}
	for _, o := range objs {
		if s, ok := o.(*discoveryv1.EndpointSlice); ok && s.Labels[discoveryv1.LabelManagedBy] == manager && s.DeletionTimestamp == nil {
			out = append(out, s)
		}
	}
	return out
}

// conflict tells whether nothing is wrong but that the cache was behind.
func conflict(err error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			if !conflict(e) {
				return false
			}
		}
		return true
	}
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err)
}
