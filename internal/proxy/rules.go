package proxy

import (
	"fmt"
	"net"
	"net/netip"

	"clipper/internal/nft"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// tableName is the table of this package in the node's namespace.
	tableName = "clipper-services"
	// masqueradeBit of a packet's mark asks for the node's address as source.
	masqueradeBit = 0x4000
	// lo is the number of the loopback interface.
	lo = 1

	setServices   = "services"
	setNodePorts  = "node-ports"
	setRefused    = "refused"
	setRefusedNP  = "refused-node-ports"
	setFirewall   = "firewall"
	setNodeIPs    = "node-addresses"
	setHairpin    = "hairpin"
	chainRefuse   = "refuse"
	chainReject   = "reject"
	chainDispatch = "dispatch"
)

// maxClients of a port that an endpoint remembers for session affinity.
const maxClients = 65535

func (n *node) frontType() nft.Type { return nft.Concat(n.family.Addr(), nft.Protocol, nft.Port) }

func (n *node) set(name string) *nft.Set {
	s := &nft.Set{Name: name}
	switch name {
	case setServices, setRefused, setFirewall:
		s.Key, s.Data = n.frontType(), nft.Verdict
	case setNodePorts, setRefusedNP:
		s.Key, s.Data = nft.Concat(nft.Protocol, nft.Port), nft.Verdict
	case setNodeIPs:
		s.Key = n.family.Addr()
	case setHairpin:
		s.Key = nft.Concat(n.family.Addr(), n.family.Addr())
	}
	return s
}

// base is the table of a node without Services.
func (n *node) base() nft.Fragment {
	var (
		f             = n.family
		src, dst      = f.Source(), f.Destination()
		proto, port   = nft.PacketProtocol(), nft.DestinationPort()
		toNode        = nft.In(n.set(setNodeIPs), dst)
		toServices    = dst.Masked(mask(n.serve))
		fromElsewhere = src.NotMasked(mask(n.pods))
		untranslated  = toServices + nft.OutIndex().IsNot(nft.NumberValue(lo)) + nft.Goto(chainReject)
		hook          = func(typ string, at uint32, priority int32) *nft.Hook {
			return &nft.Hook{Type: typ, At: at, Priority: priority}
		}
		refuse, dispatch = []nft.Rule{nft.ConnectionIsNew() + nft.Jump(chainRefuse)}, []nft.Rule{nft.Goto(chainDispatch)}
		firewall         = []nft.Rule{nft.ConnectionIsNew() + nft.Dispatch(n.set(setFirewall), dst, proto, port)}
	)
	b := nft.Fragment{
		Chains: []nft.Chain{
			// A reset is sent each time, unlike the other answer.
			{Name: chainReject, Rules: []nft.Rule{proto.Is(nft.ProtocolValue(unix.IPPROTO_TCP)) + nft.Reset(), f.Reject()}},
			{Name: chainDispatch, Rules: []nft.Rule{
				// A client elsewhere may have no way back but by this node.
				toServices + fromElsewhere + nft.SetBits(masqueradeBit),
				nft.Dispatch(n.set(setServices), dst, proto, port),
				toNode + nft.Dispatch(n.set(setNodePorts), proto, port),
			}},
			// What was not translated is for no Service, or for one that has
			// nowhere to lead it.
			{Name: chainRefuse, Rules: []nft.Rule{
				nft.Dispatch(n.set(setRefused), dst, proto, port),
				toNode + nft.Dispatch(n.set(setRefusedNP), proto, port),
			}},
			{Name: "nat-prerouting", Hook: hook("nat", unix.NF_INET_PRE_ROUTING, -100), Rules: dispatch},
			{Name: "nat-output", Hook: hook("nat", unix.NF_INET_LOCAL_OUT, -100), Rules: dispatch},
			{Name: "nat-postrouting", Hook: hook("nat", unix.NF_INET_POST_ROUTING, 100), Rules: []nft.Rule{
				nft.Mark().HasBits(masqueradeBit) + nft.ClearBits(masqueradeBit) + nft.Masquerade(),
				// An endpoint that is its own client would answer itself.
				nft.ConnectionIsTranslated() + nft.In(n.set(setHairpin), src, dst) + nft.Masquerade(),
			}},
			// Sources are filtered before the destination is changed.
			{Name: "filter-prerouting", Hook: hook("filter", unix.NF_INET_PRE_ROUTING, -110), Rules: firewall},
			{Name: "filter-input", Hook: hook("filter", unix.NF_INET_LOCAL_IN, 0), Rules: refuse},
			{Name: "filter-forward", Hook: hook("filter", unix.NF_INET_FORWARD, 0), Rules: append(refuse, untranslated)},
			{Name: "filter-output", Hook: hook("filter", unix.NF_INET_LOCAL_OUT, 0), Rules: append(refuse, untranslated)},
		},
	}
	for _, name := range []string{setServices, setNodePorts, setRefused, setRefusedNP, setFirewall, setNodeIPs, setHairpin} {
		b.Sets = append(b.Sets, n.set(name))
	}
	for _, ip := range n.ips {
		b.Entries = append(b.Entries, nft.Entry{Set: n.set(setNodeIPs), Element: nft.Element{Key: nft.AddrValue(ip)}})
	}
	return b
}

func mask(p netip.Prefix) (mask, value nft.Value) {
	return nft.Value(net.CIDRMask(p.Bits(), p.Addr().BitLen())), nft.AddrValue(p.Addr())
}

// fragment is a Service's part of the table.
func (n *node) fragment(key types.NamespacedName, ports []port, o *order) nft.Fragment {
	w := writer{node: n, order: o, lists: map[string]bool{}}
	for i := range ports {
		w.port(key, &ports[i])
	}
	o.keep(w.lists)
	return w.f
}

// writer gathers a fragment.
type writer struct {
	*node
	f     nft.Fragment
	order *order
	lists map[string]bool
}

var protocolNames = map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp"}

func (w *writer) port(key types.NamespacedName, p *port) {
	name := fmt.Sprintf("%s/%s/%d", key, protocolNames[p.protocol], p.number)
	local := name + "/local"
	if len(p.all) > 0 {
		w.pick(name, name, p, p.all)
	}
	if (p.internalLocal || p.externalLocal) && len(p.local) > 0 {
		w.pick(local, name, p, p.local)
	}
	if p.affinity > 0 {
		w.remember(name, p)
	}
	front := func(ip netip.Addr) nft.Value {
		return nft.Join(nft.AddrValue(ip), nft.ProtocolValue(p.protocol), nft.PortValue(p.number))
	}
	for _, ip := range p.cluster {
		switch {
		case p.internalLocal && len(p.local) > 0:
			w.entry(setServices, front(ip), nft.GotoValue(local))
		case p.internalLocal && len(p.all) > 0:
			w.entry(setRefused, front(ip), nft.DropValue())
		case len(p.all) > 0:
			w.entry(setServices, front(ip), nft.GotoValue(name))
		}
	}
	if len(p.external) == 0 && p.nodePort == 0 {
		w.hairpin(p)
		return
	}
	// Without any endpoint clients are refused; without one on this node they
	// are left to try another.
	external := name + "/external"
	refusal := nft.GotoValue(chainReject)
	if len(p.all) > 0 {
		w.external(external, name, local, p)
		refusal = nft.DropValue()
	}
	refused := len(p.all) == 0 || p.externalLocal && len(p.local) == 0
	nodePort := nft.Join(nft.ProtocolValue(p.protocol), nft.PortValue(p.nodePort))
	for _, ip := range p.external {
		if len(p.all) > 0 {
			w.entry(setServices, front(ip), nft.GotoValue(external))
		}
		if refused {
			w.entry(setRefused, front(ip), refusal)
		}
	}
	if p.nodePort != 0 {
		if len(p.all) > 0 {
			w.entry(setNodePorts, nodePort, nft.GotoValue(external))
		}
		if refused {
			w.entry(setRefusedNP, nodePort, refusal)
		}
	}
	for _, ip := range p.balancer {
		w.entry(setFirewall, front(ip), nft.GotoValue(name+"/sources"))
	}
	if len(p.balancer) > 0 {
		w.sources(name+"/sources", p)
	}
	w.hairpin(p)
}

func (w *writer) entry(set string, key, data nft.Value) {
	w.f.Entries = append(w.f.Entries, nft.Entry{Set: w.set(set), Element: nft.Element{Key: key, Data: data}})
}

func (w *writer) chain(name string, rules ...nft.Rule) {
	w.f.Chains = append(w.f.Chains, nft.Chain{Name: name, Rules: rules})
}

// pick makes the chain, and the map of its name, that choose an endpoint at
// random. With affinity a client goes where it went before.
func (w *writer) pick(chain, name string, p *port, endpoints []netip.AddrPort) {
	w.lists[chain] = true
	endpoints = w.order.arrange(chain, endpoints)
	choices := &nft.Set{Name: chain, Key: nft.Number, Data: nft.Concat(w.family.Addr(), nft.Port)}
	random := nft.Random(uint32(len(endpoints)), 0)
	var rules []nft.Rule
	if p.affinity > 0 {
		choices.Name, choices.Data = chain+"/endpoints", nft.Verdict
		for _, e := range endpoints {
			rules = append(rules, nft.In(w.clients(name, p, e), w.family.Source())+nft.Goto(endpointName(name, e)))
		}
		rules = append(rules, nft.Dispatch(choices, random))
	} else {
		rules = append(rules, w.family.TranslateBy(choices, random))
	}
	w.f.Sets = append(w.f.Sets, choices)
	for i, e := range endpoints {
		to := nft.GotoValue(endpointName(name, e))
		if p.affinity == 0 {
			to = tuple(e)
		}
		w.f.Entries = append(w.f.Entries, nft.Entry{Set: choices, Element: nft.Element{Key: nft.NumberValue(uint32(i)), Data: to}})
	}
	w.chain(chain, rules...)
}

func tuple(e netip.AddrPort) nft.Value {
	return nft.Join(nft.AddrValue(e.Addr()), nft.PortValue(e.Port()))
}

func endpointName(name string, e netip.AddrPort) string {
	return fmt.Sprintf("%s/%s/%d", name, e.Addr(), e.Port())
}

// clients is the set of those who have lately been at an endpoint.
func (w *writer) clients(name string, p *port, e netip.AddrPort) *nft.Set {
	return &nft.Set{
		Name: fmt.Sprintf("%s/%s", endpointName(name, e), p.affinity), Key: w.family.Addr(),
		Timeout: p.affinity, Size: maxClients,
	}
}

// remember makes the chains of endpoints that remember their clients.
func (w *writer) remember(name string, p *port) {
	both := append([]netip.AddrPort(nil), p.all...)
	if p.internalLocal || p.externalLocal {
		both = append(both, p.local...)
	}
	done := map[netip.AddrPort]bool{}
	for _, e := range both {
		if done[e] {
			continue
		}
		done[e] = true
		clients := w.clients(name, p, e)
		w.f.Sets = append(w.f.Sets, clients)
		w.chain(endpointName(name, e),
			nft.Remember(clients, w.family.Source()), // goes on also when the set is full
			w.family.TranslateTo(tuple(e)))
	}
}

// external makes the chain for clients from outside the cluster. Where their
// traffic stays on this node their address does too; clients within the
// cluster are served by any endpoint nevertheless.
func (w *writer) external(chain, name, local string, p *port) {
	if !p.externalLocal {
		w.chain(chain, nft.SetBits(masqueradeBit), nft.Goto(name))
		return
	}
	rules := []nft.Rule{
		w.family.Source().Masked(mask(w.pods)) + nft.Goto(name),
		nft.SourceIsLocal() + nft.SetBits(masqueradeBit) + nft.Goto(name),
	}
	if len(p.local) > 0 {
		rules = append(rules, nft.Goto(local))
	}
	w.chain(chain, rules...)
}

// sources makes the chain that lets only some clients to the load balancer.
func (w *writer) sources(chain string, p *port) {
	var rules []nft.Rule
	for _, cidr := range p.sources {
		rules = append(rules, w.family.Source().Masked(mask(cidr))+nft.Return())
	}
	w.chain(chain, append(rules, nft.Drop())...)
}

// hairpin notes the endpoints on this node.
func (w *writer) hairpin(p *port) {
	for _, ip := range p.here {
		self := nft.AddrValue(ip)
		w.entry(setHairpin, nft.Join(self, self), "")
	}
}
