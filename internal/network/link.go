package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// linkPrefix and an address's place in the pod CIDR are a veth's name.
	linkPrefix = "pod"
	// linkGroup marks the links of this package as such.
	linkGroup = 0x636c6970
	// podInterface is the other end, in the pod.
	podInterface = "eth0"
)

// connectPod makes the veth pair of a pod and configures both of its ends.
func (n *Network) connectPod(ns netns.NsHandle, l *lease) error {
	if err := n.createPair(ns, l); err != nil {
		return fmt.Errorf("create veth %s: %w", l.Link, err)
	}
	link, err := netlink.LinkByName(l.Link)
	if err != nil {
		return fmt.Errorf("veth %s: %w", l.Link, err)
	}
	index := link.Attrs().Index
	if err = raise(index); err == nil {
		err = netlink.RouteReplace(&netlink.Route{
			LinkIndex: index, Dst: single(l.IP), Src: n.gateway.AsSlice(),
			Scope: netlink.SCOPE_LINK, Protocol: routeProtocol,
		})
	}
	if err == nil {
		err = configurePod(ns, l.IP, n.gateway)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("veth %s: %w", l.Link, err), netlink.LinkDel(link))
	}
	return nil
}

// createPair makes the pair in place, by one request: making both ends in one
// namespace and moving one of them costs several times as much.
func (n *Network) createPair(ns netns.NsHandle, l *lease) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	end := func(add func(int, []byte), name string) {
		add(unix.IFLA_IFNAME, nl.ZeroTerminated(name))
		add(unix.IFLA_MTU, nl.Uint32Attr(uint32(n.mtu)))
		// Without this there would be a queue for each possible processor.
		add(unix.IFLA_NUM_TX_QUEUES, nl.Uint32Attr(1))
		add(unix.IFLA_NUM_RX_QUEUES, nl.Uint32Attr(1))
	}
	end(func(typ int, data []byte) { req.AddData(nl.NewRtAttr(typ, data)) }, l.Link)
	req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(linkGroup)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	peer.AddChild(nl.NewIfInfomsg(unix.AF_UNSPEC))
	end(func(typ int, data []byte) { peer.AddRtAttr(typ, data) }, podInterface)
	peer.AddRtAttr(unix.IFLA_ADDRESS, macOf(l.IP))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns)))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// raise sets a link up. It gets no IPv6 address, for none is in use and each
// would send solicitations for a while. What comes in by it must have a source
// that is reached by it, so that a pod sends as itself alone; and a pod that
// reaches itself through a Service is not told of a shorter way.
func raise(index int) error {
	const ( // of linux/ip.h and linux/if_link.h
		sendRedirects, rpFilter = 6, 8
		addrGenModeNone         = 1
	)
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	req.AddData(msg)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(unix.IFLA_INET_CONF, nil)
	conf.AddRtAttr(sendRedirects, nl.Uint32Attr(0))
	conf.AddRtAttr(rpFilter, nl.Uint32Attr(1))
	if hasIPv6() {
		spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, nl.Uint8Attr(addrGenModeNone))
	}
	req.AddData(spec)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// hasIPv6 tells whether the kernel knows IPv6 at all.
func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// configurePod raises what is in the pod's namespace: lo, and the pod's end of
// the pair with its address and its routes, all by way of the gateway. It may
// be repeated.
func configurePod(ns netns.NsHandle, ip, gateway netip.Addr) error {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter the pod's namespace: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	eth, err := h.LinkByName(podInterface)
	if err != nil {
		return fmt.Errorf("%s of the pod: %w", podInterface, err)
	}
	index := eth.Attrs().Index
	if err := h.LinkSetIP6AddrGenMode(eth, 1); err != nil && hasIPv6() {
		return fmt.Errorf("%s: no IPv6 addresses: %w", podInterface, err)
	}
	if err := h.LinkSetUp(eth); err != nil {
		return fmt.Errorf("raise %s: %w", podInterface, err)
	}
	if err := h.AddrReplace(eth, &netlink.Addr{IPNet: single(ip)}); err != nil {
		return fmt.Errorf("address %v: %w", ip, err)
	}
	for _, r := range []*netlink.Route{
		{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: single(gateway), Src: ip.AsSlice()},
		{LinkIndex: index, Gw: gateway.AsSlice(), Src: ip.AsSlice()},
	} {
		if err := h.RouteReplace(r); err != nil {
			return fmt.Errorf("route %v: %w", r, err)
		}
	}
	return nil
}

// deleteLink deletes a link; one that is not there is fine. The kernel takes
// some 20 ms to be done with it, most of it without holding up others.
func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// macOf is the hardware address of the interface with an IP: an address that is
// given out again keeps its neighbours' caches right.
func macOf(ip netip.Addr) net.HardwareAddr {
	const local = 0x0a // locally administered, unicast
	return append(net.HardwareAddr{local, 0x58}, ip.AsSlice()...)
}

func single(ip netip.Addr) *net.IPNet { return ipNet(netip.PrefixFrom(ip, ip.BitLen())) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
