package network

import (
	"fmt"
	"net"
	"net/netip"

	"clipper/internal/nft"

	"golang.org/x/sys/unix"
)

// tableName is the table of this package in the node's namespace.
const tableName = "clipper-network"

const family = nft.IPv4

var (
	hostPorts = &nft.Set{
		Name: "host-ports", Key: nft.Concat(nft.Protocol, nft.Port),
		Data: nft.Concat(family.Addr(), nft.Port),
	}
	hostPortsOfAddress = &nft.Set{
		Name: "host-ports-of-address", Key: nft.Concat(family.Addr(), nft.Protocol, nft.Port),
		Data: nft.Concat(family.Addr(), nft.Port),
	}
	// A pod that reaches itself through a port of the node must not see its own
	// address as the source, or it would answer itself.
	hairpin = &nft.Set{Name: "hairpin", Key: nft.Concat(family.Addr(), family.Addr())}
)

// baseRules are those of a node without pods.
func baseRules(cfg *Config) nft.Fragment {
	dst, proto, port := family.Destination(), nft.PacketProtocol(), nft.DestinationPort()
	in := func(f nft.Field, p netip.Prefix) (nft.Field, nft.Value, nft.Value) {
		return f, nft.Value(net.CIDRMask(p.Bits(), p.Addr().BitLen())), nft.AddrValue(p.Masked().Addr())
	}
	is := func(f nft.Field, p netip.Prefix) nft.Rule { f, m, v := in(f, p); return f.Masked(m, v) }
	not := func(f nft.Field, p netip.Prefix) nft.Rule { f, m, v := in(f, p); return f.NotMasked(m, v) }
	loopback := netip.MustParsePrefix("127.0.0.0/8")

	post := []nft.Rule{
		nft.ConnectionIsTranslated() + nft.In(hairpin, family.Source(), family.Destination()) + nft.Masquerade(),
	}
	if cfg.Uplink {
		post = append(post, is(family.Source(), cfg.PodCIDR)+
			not(family.Destination(), cfg.ClusterPodCIDR)+not(family.Destination(), cfg.ServiceCIDR)+
			nft.Masquerade())
	}
	return nft.Fragment{
		Sets: []*nft.Set{hostPorts, hostPortsOfAddress, hairpin},
		Chains: []nft.Chain{
			{Name: "to-host-ports", Rules: []nft.Rule{
				family.TranslateBy(hostPortsOfAddress, dst, proto, port),
				// From lo there is no way to a pod.
				not(dst, loopback) + nft.DestinationIsLocal() + family.TranslateBy(hostPorts, proto, port),
			}},
			{Name: "prerouting", Hook: &nft.Hook{Type: "nat", At: unix.NF_INET_PRE_ROUTING, Priority: -100},
				Rules: []nft.Rule{nft.Goto("to-host-ports")}},
			{Name: "output", Hook: &nft.Hook{Type: "nat", At: unix.NF_INET_LOCAL_OUT, Priority: -100},
				Rules: []nft.Rule{nft.Goto("to-host-ports")}},
			{Name: "postrouting", Hook: &nft.Hook{Type: "nat", At: unix.NF_INET_POST_ROUTING, Priority: 100},
				Rules: post},
		},
	}
}

var protocols = map[string]uint8{
	"": unix.IPPROTO_TCP, "TCP": unix.IPPROTO_TCP, "UDP": unix.IPPROTO_UDP, "SCTP": unix.IPPROTO_SCTP,
}

func checkPorts(ports []PortMapping) error {
	for _, p := range ports {
		if _, ok := protocols[p.Protocol]; !ok {
			return fmt.Errorf("port mapping: protocol %q: want TCP, UDP or SCTP", p.Protocol)
		}
		if p.HostPort < 0 || p.HostPort > 65535 || p.ContainerPort < 1 || p.ContainerPort > 65535 {
			return fmt.Errorf("port mapping from %d to %d: want ports of 1 to 65535", p.HostPort, p.ContainerPort)
		}
		if p.HostIP != "" {
			if _, err := netip.ParseAddr(p.HostIP); err != nil {
				return fmt.Errorf("port mapping: host IP: %w", err)
			}
		}
	}
	return nil
}

// hostPortRules are those of a pod whose ports checkPorts has accepted.
func hostPortRules(ports []PortMapping, ip netip.Addr) nft.Fragment {
	var f nft.Fragment
	for _, p := range ports {
		if p.HostPort == 0 {
			continue
		}
		proto, port := nft.ProtocolValue(protocols[p.Protocol]), nft.PortValue(uint16(p.HostPort))
		to := nft.Join(nft.AddrValue(ip), nft.PortValue(uint16(p.ContainerPort)))
		at, err := netip.ParseAddr(p.HostIP)
		switch {
		case err != nil || at.IsUnspecified():
			f.Entries = append(f.Entries, nft.Entry{Set: hostPorts, Element: nft.Element{Key: nft.Join(proto, port), Data: to}})
		case at.Unmap().Is4():
			f.Entries = append(f.Entries, nft.Entry{Set: hostPortsOfAddress,
				Element: nft.Element{Key: nft.Join(nft.AddrValue(at.Unmap()), proto, port), Data: to}})
		}
	}
	if len(f.Entries) > 0 {
		self := nft.AddrValue(ip)
		f.Entries = append(f.Entries, nft.Entry{Set: hairpin, Element: nft.Element{Key: nft.Join(self, self)}})
	}
	return f
}
