package dns

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// index holds the names of the cluster. Records are replaced, never changed, so
// a query holds the lock for a lookup only.
type index struct {
	mu         sync.RWMutex
	namespaces map[string]struct{}
	services   map[types.NamespacedName]*tracked
	// names of an address, by the Service that gives it the name.
	names map[netip.Addr]map[types.NamespacedName]string
}

type tracked struct {
	service *corev1.Service
	slices  map[string]*discoveryv1.EndpointSlice
	record  *record // nil: there is no such name
}

// record is what a Service's names say.
type record struct {
	// alias is where an ExternalName leads, absolute; all else is then empty.
	alias string
	// addrs of the Service's own name.
	addrs []netip.Addr
	// hosts are the addresses of names below it; none has no hosts.
	hosts map[string][]netip.Addr
	// ports by "_name._protocol".
	ports map[string][]target
}

// target of a port is the Service itself, or a host below it.
type target struct {
	host string
	port uint16
}

func newIndex() index {
	return index{
		namespaces: map[string]struct{}{},
		services:   map[types.NamespacedName]*tracked{},
		names:      map[netip.Addr]map[types.NamespacedName]string{},
	}
}

func (x *index) noteNamespace(o any, exists bool) {
	ns, ok := o.(*corev1.Namespace)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if delete(x.namespaces, ns.Name); exists {
		x.namespaces[ns.Name] = struct{}{}
	}
}

func (x *index) noteService(o any, exists bool) {
	svc, ok := o.(*corev1.Service)
	if !ok {
		return
	}
	x.change(types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}, func(t *tracked) {
		if t.service = nil; exists {
			t.service = svc
		}
	})
}

func (x *index) noteSlice(o any, exists bool) {
	slice, ok := o.(*discoveryv1.EndpointSlice)
	if !ok || slice.Labels[discoveryv1.LabelServiceName] == "" {
		return
	}
	key := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
	x.change(key, func(t *tracked) {
		if delete(t.slices, slice.Name); exists {
			t.slices[slice.Name] = slice
		}
	})
}

// change makes a Service's record anew.
func (x *index) change(key types.NamespacedName, apply func(*tracked)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.services[key]
	if t == nil {
		t = &tracked{slices: map[string]*discoveryv1.EndpointSlice{}}
		x.services[key] = t
	}
	apply(t)
	old := t.record
	t.record = newRecord(t.service, t.slices)
	x.rename(key, old, t.record)
	if t.service == nil && len(t.slices) == 0 {
		delete(x.services, key)
	}
}

// rename brings the names of addresses from one record to the next.
func (x *index) rename(key types.NamespacedName, old, now *record) {
	for ip := range old.names() {
		if delete(x.names[ip], key); len(x.names[ip]) == 0 {
			delete(x.names, ip)
		}
	}
	for ip, host := range now.names() {
		if x.names[ip] == nil {
			x.names[ip] = map[types.NamespacedName]string{}
		}
		x.names[ip][key] = host
	}
}

// names of the record's addresses: a host's, or "" for the Service's own.
func (r *record) names() map[netip.Addr]string {
	names := map[netip.Addr]string{}
	if r == nil {
		return names
	}
	if r.hosts == nil {
		for _, ip := range r.addrs {
			names[ip] = ""
		}
		return names
	}
	for _, host := range slices.Sorted(maps.Keys(r.hosts)) {
		for _, ip := range r.hosts[host] {
			// A name that was chosen tells more than one made of the address.
			if old, twice := names[ip]; !twice || old == dashed(ip) {
				names[ip] = host
			}
		}
	}
	return names
}

func isHeadless(svc *corev1.Service) bool {
	return svc != nil && svc.Spec.ClusterIP == corev1.ClusterIPNone
}

// newRecord returns nil for a Service without names.
func newRecord(svc *corev1.Service, endpoints map[string]*discoveryv1.EndpointSlice) *record {
	switch {
	case svc == nil:
		return nil
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return &record{alias: strings.ToLower(strings.TrimSuffix(svc.Spec.ExternalName, ".")) + "."}
	case isHeadless(svc):
		return headless(svc, endpoints)
	}
	r := &record{ports: map[string][]target{}}
	for _, text := range append([]string{svc.Spec.ClusterIP}, svc.Spec.ClusterIPs...) {
		if ip, err := netip.ParseAddr(text); err == nil && !slices.Contains(r.addrs, ip) {
			r.addrs = append(r.addrs, ip)
		}
	}
	for _, p := range svc.Spec.Ports {
		if p.Name != "" {
			k := portKey(p.Name, p.Protocol)
			r.ports[k] = append(r.ports[k], target{port: uint16(p.Port)})
		}
	}
	if len(r.addrs) == 0 {
		return nil // its address has not been chosen yet
	}
	return r
}

// headless has a host for each endpoint that is ready, or for all of them if
// the Service says so.
func headless(svc *corev1.Service, endpoints map[string]*discoveryv1.EndpointSlice) *record {
	r := &record{hosts: map[string][]netip.Addr{}, ports: map[string][]target{}}
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		s := endpoints[name]
		if s.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			if e.Conditions.Ready != nil && !*e.Conditions.Ready && !svc.Spec.PublishNotReadyAddresses {
				continue
			}
			for _, text := range e.Addresses {
				ip, err := netip.ParseAddr(text)
				if err != nil {
					continue
				}
				host := dashed(ip)
				if e.Hostname != nil && *e.Hostname != "" {
					host = strings.ToLower(*e.Hostname)
				}
				if !slices.Contains(r.hosts[host], ip) {
					r.hosts[host] = append(r.hosts[host], ip)
				}
				r.addrs = append(r.addrs, ip)
				r.addPorts(s, host)
			}
		}
	}
	slices.SortFunc(r.addrs, netip.Addr.Compare)
	r.addrs = slices.Compact(r.addrs)
	if len(r.addrs) == 0 {
		return nil // so the specification: without ready endpoints, no such name
	}
	return r
}

func (r *record) addPorts(s *discoveryv1.EndpointSlice, host string) {
	for _, p := range s.Ports {
		if p.Name == nil || *p.Name == "" || p.Port == nil {
			continue
		}
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		k, t := portKey(*p.Name, protocol), target{host, uint16(*p.Port)}
		if !slices.Contains(r.ports[k], t) {
			r.ports[k] = append(r.ports[k], t)
		}
	}
}

func portKey(name string, protocol corev1.Protocol) string {
	if protocol == "" {
		protocol = corev1.ProtocolTCP
	}
	return "_" + strings.ToLower(name) + "._" + strings.ToLower(string(protocol))
}

// dashed is an address as a label.
func dashed(ip netip.Addr) string {
	return strings.NewReplacer(".", "-", ":", "-").Replace(ip.String())
}

// find returns a Service's record.
func (x *index) find(namespace, name string) (*record, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	t := x.services[types.NamespacedName{Namespace: namespace, Name: name}]
	if t == nil || t.record == nil {
		return nil, false
	}
	return t.record, true
}

func (x *index) hasNamespace(name string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, ok := x.namespaces[name]
	return ok
}

// namesOf returns the names of an address without the zone, sorted: those of
// Services if it has any.
func (x *index) namesOf(ip netip.Addr) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var all []string
	for key, host := range x.names[ip] {
		name := key.Name + "." + key.Namespace + ".svc"
		if host != "" {
			name = host + "." + name
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
