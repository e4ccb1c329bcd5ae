package proxy

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"clipper/internal/nft"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// node is what the rules depend on beside Services.
type node struct {
	name, zone  string
	family      nft.Family
	ips         []netip.Addr
	pods, serve netip.Prefix
	own         []netip.Addr
}

func newNode(cfg *Config) node {
	n := node{name: cfg.NodeName, family: nft.IPv4, pods: cfg.ClusterPodCIDR, serve: cfg.ServiceCIDR, own: cfg.Own}
	if cfg.ServiceCIDR.Addr().Is6() {
		n.family = nft.IPv6
	}
	for _, ip := range cfg.NodeIPs {
		if n.family.Of(ip) {
			n.ips = append(n.ips, ip)
		}
	}
	return n
}

// port is one port of a Service: where it is reached and where that leads.
type port struct {
	protocol uint8
	number   uint16
	nodePort uint16 // 0: none

	cluster  []netip.Addr // cluster IPs
	external []netip.Addr // external IPs and those of the load balancer
	balancer []netip.Addr // of external, those that sources filters
	sources  []netip.Prefix

	// internalLocal and externalLocal keep traffic on this node.
	internalLocal, externalLocal bool
	// affinity is how long a client stays with its endpoint; 0: it does not.
	affinity time.Duration

	// all are the endpoints to choose from, local those on this node; every
	// list is sorted.
	all, local []netip.AddrPort
	// here are the endpoints of either list that are on this node.
	here []netip.Addr
}

var protocols = map[corev1.Protocol]uint8{
	"": unix.IPPROTO_TCP, corev1.ProtocolTCP: unix.IPPROTO_TCP,
	corev1.ProtocolUDP: unix.IPPROTO_UDP, corev1.ProtocolSCTP: unix.IPPROTO_SCTP,
}

// serviceProxyName is the label of Services that another proxy is to serve.
const serviceProxyName = "service.kubernetes.io/service-proxy-name"

// ports returns the Service's ports as this node shall serve them: none for a
// Service that has no cluster IP of the node's family.
func (n *node) ports(svc *corev1.Service, endpoints map[string]*discoveryv1.EndpointSlice) []port {
	if svc == nil || svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	if _, other := svc.Labels[serviceProxyName]; other {
		return nil
	}
	cluster := n.addresses(append([]string{svc.Spec.ClusterIP}, svc.Spec.ClusterIPs...))
	if len(cluster) == 0 || slices.ContainsFunc(cluster, func(a netip.Addr) bool { return slices.Contains(n.own, a) }) {
		return nil
	}
	base := port{
		cluster:       cluster,
		external:      n.addresses(svc.Spec.ExternalIPs),
		internalLocal: svc.Spec.InternalTrafficPolicy != nil && *svc.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
		externalLocal: svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
	}
	if svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		base.affinity = 3 * time.Hour // the API's default
		if c := svc.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			base.affinity = time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
		}
	}
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		n.balance(&base, svc)
	}
	var ports []port
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		p := base
		p.protocol, p.number, p.nodePort = protocols[sp.Protocol], uint16(sp.Port), uint16(sp.NodePort)
		n.choose(&p, sp.Name, endpoints)
		ports = append(ports, p)
	}
	return ports
}

// balance adds the addresses that the load balancer gave to the Service.
func (n *node) balance(p *port, svc *corev1.Service) {
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if in.IPMode != nil && *in.IPMode == corev1.LoadBalancerIPModeProxy {
			continue // it comes to the node ports by itself
		}
		p.balancer = append(p.balancer, n.addresses([]string{in.IP})...)
	}
	p.external = sorted(append(p.external, p.balancer...))
	if len(svc.Spec.LoadBalancerSourceRanges) == 0 {
		p.balancer = nil
		return
	}
	for _, r := range svc.Spec.LoadBalancerSourceRanges {
		if cidr, err := netip.ParsePrefix(strings.TrimSpace(r)); err == nil && n.family.Of(cidr.Addr()) {
			p.sources = append(p.sources, cidr.Masked())
		}
	}
}

// addresses parses those of the node's family, each once.
func (n *node) addresses(texts []string) []netip.Addr {
	var ips []netip.Addr
	for _, t := range texts {
		if ip, err := netip.ParseAddr(t); err == nil && n.family.Of(ip) {
			ips = append(ips, ip)
		}
	}
	return sorted(ips)
}

func sorted(ips []netip.Addr) []netip.Addr {
	slices.SortFunc(ips, netip.Addr.Compare)
	return slices.Compact(ips)
}

// endpoint is one of a port's, as its slices describe it.
type endpoint struct {
	at                  netip.AddrPort
	ready, serving, end bool
	local               bool
	hints               *discoveryv1.EndpointHints
}

// choose sets the endpoints that the port's traffic goes to: those that are
// ready or, if there is none, those that still serve while they terminate.
// Where every one that is ready has hints, the ones hinted at for this node or
// its zone are preferred.
func (n *node) choose(p *port, name string, endpoints map[string]*discoveryv1.EndpointSlice) {
	all := n.endpoints(p.protocol, name, endpoints)
	local := slices.DeleteFunc(slices.Clone(all), func(e endpoint) bool { return !e.local })
	p.all = addrPorts(n.near(usable(all)))
	p.local = addrPorts(usable(local))
	for _, e := range local {
		p.here = append(p.here, e.at.Addr())
	}
	p.here = sorted(p.here)
}

func (n *node) endpoints(protocol uint8, name string, endpoints map[string]*discoveryv1.EndpointSlice) []endpoint {
	family := discoveryv1.AddressTypeIPv4
	if n.family == nft.IPv6 {
		family = discoveryv1.AddressTypeIPv6
	}
	byAddr := map[netip.AddrPort]endpoint{}
	for _, s := range endpoints {
		if s.AddressType != family {
			continue
		}
		for _, sp := range s.Ports {
			if sp.Port == nil || value(sp.Name, "") != name || protocols[value(sp.Protocol, corev1.ProtocolTCP)] != protocol {
				continue
			}
			for i := range s.Endpoints {
				e := &s.Endpoints[i]
				if len(e.Addresses) == 0 {
					continue
				}
				ip, err := netip.ParseAddr(e.Addresses[0]) // the API allows no other any more
				if err != nil || !n.family.Of(ip) {
					continue
				}
				ready := value(e.Conditions.Ready, true)
				ep := endpoint{
					at: netip.AddrPortFrom(ip, uint16(*sp.Port)), ready: ready,
					serving: value(e.Conditions.Serving, ready), end: value(e.Conditions.Terminating, false),
					local: value(e.NodeName, "") == n.name, hints: e.Hints,
				}
				if old, twice := byAddr[ep.at]; !twice || ep.ready && !old.ready {
					byAddr[ep.at] = ep
				}
			}
		}
	}
	return slices.SortedFunc(maps.Values(byAddr), func(a, b endpoint) int { return a.at.Compare(b.at) })
}

func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func usable(all []endpoint) []endpoint {
	ready := slices.DeleteFunc(slices.Clone(all), func(e endpoint) bool { return !e.ready })
	if len(ready) > 0 {
		return ready
	}
	return slices.DeleteFunc(slices.Clone(all), func(e endpoint) bool { return !e.serving || !e.end })
}

// near keeps the endpoints that hints give to this node or, failing that, to
// its zone (KEPs 2433, 3015); all of them if an endpoint has no hint or none is
// for here.
func (n *node) near(all []endpoint) []endpoint {
	for _, hinted := range []func(*discoveryv1.EndpointHints) (given, here bool){
		func(h *discoveryv1.EndpointHints) (bool, bool) {
			return len(h.ForNodes) > 0, slices.ContainsFunc(h.ForNodes, func(f discoveryv1.ForNode) bool { return f.Name == n.name })
		},
		func(h *discoveryv1.EndpointHints) (bool, bool) {
			return len(h.ForZones) > 0 && n.zone != "", slices.ContainsFunc(h.ForZones, func(f discoveryv1.ForZone) bool { return f.Name == n.zone })
		},
	} {
		var near []endpoint
		every := true
		for _, e := range all {
			given, here := false, false
			if e.hints != nil {
				given, here = hinted(e.hints)
			}
			if every = every && given; here {
				near = append(near, e)
			}
		}
		if every && len(near) > 0 {
			return near
		}
	}
	return all
}

func addrPorts(es []endpoint) []netip.AddrPort {
	var at []netip.AddrPort
	for _, e := range es {
		at = append(at, e.at)
	}
	return at
}

// order remembers how the endpoints of each list are numbered, so that a change
// moves as few as can be.
type order map[string][]netip.AddrPort

// arrange numbers the endpoints of a list: those that stay keep their numbers
// except that the last ones fill the places of those that went.
func (o *order) arrange(list string, now []netip.AddrPort) []netip.AddrPort {
	if *o == nil {
		*o = order{}
	}
	is := func(in []netip.AddrPort) map[netip.AddrPort]bool {
		m := make(map[netip.AddrPort]bool, len(in))
		for _, a := range in {
			m[a] = true
		}
		return m
	}
	wanted := is(now)
	kept := slices.Clone((*o)[list])
	for i := 0; i < len(kept); {
		if wanted[kept[i]] {
			i++
			continue
		}
		kept[i] = kept[len(kept)-1]
		kept = kept[:len(kept)-1]
	}
	have := is(kept)
	for _, a := range now {
		if !have[a] {
			kept = append(kept, a)
		}
	}
	(*o)[list] = kept
	return kept
}

// keep forgets the lists that are no longer in use.
func (o *order) keep(lists map[string]bool) {
	maps.DeleteFunc(*o, func(list string, _ []netip.AddrPort) bool { return !lists[list] })
}

func compareAddrPort(a, b netip.AddrPort) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Port(), b.Port()))
}
