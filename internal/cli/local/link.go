package local

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"clipper/internal/config"
)

// bridge returns the name of the cluster's bridge: readable where it fits into
// the kernel's 15 bytes, else a hash.
func (c *Cluster) bridge() string {
	const prefix = "clp-"
	if len(prefix)+len(c.Name) <= 15 {
		return prefix + c.Name
	}
	return fmt.Sprintf("%s%08x", prefix, c.hash())
}

func (c *Cluster) hash() uint32 {
	h := fnv.New32a()
	h.Write([]byte(c.Name))
	return h.Sum32()
}

// port returns the name of a node's port of the bridge. The bridge's own name
// would not fit into it, and its beginning is another cluster's too.
func (c *Cluster) port(node string) string { return fmt.Sprintf("clp%08x-%d", c.hash(), c.index(node)) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// raiseBridge creates the cluster's bridge and the machine's routes to its
// Services and pods, each through the node that serves it.
func (c *Cluster) raiseBridge() error {
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: c.bridge()}}
	if err := netlink.LinkAdd(br); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("creating bridge %s: %w; the kernel needs CONFIG_BRIDGE", c.bridge(), err)
	}
	link, err := netlink.LinkByName(c.bridge())
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(c.gateway(), 24))}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("address of bridge %s: %w", c.bridge(), err)
	}
	return netlink.LinkSetUp(link)
}

// raiseRoutes leads the machine's traffic for pods by way of their nodes, and
// that for Services by way of the first. It comes when the nodes are Ready: the
// bridge has a carrier then, and each node its share of the pods' network.
func (c *Cluster) raiseRoutes(shares map[string]netip.Prefix) error {
	link, err := netlink.LinkByName(c.bridge())
	if err != nil {
		return err
	}
	add := func(to netip.Prefix, node string) error {
		err := netlink.RouteReplace(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipNet(to), Gw: c.nodeIP(node).AsSlice(),
		})
		if err != nil {
			return fmt.Errorf("route to %s: %w", to, err)
		}
		return nil
	}
	for n, share := range shares {
		if err := add(share, n); err != nil {
			return err
		}
	}
	return add(c.serviceNet(), c.Nodes[0])
}

// shares asks the nodes which part of the pods' network each has.
func (c *Cluster) shares(ctx context.Context) (map[string]netip.Prefix, error) {
	all := map[string]netip.Prefix{}
	for _, n := range c.Nodes {
		var is config.Node
		if err := c.Ask(ctx, n, http.MethodGet, "/node", nil, &is); err != nil {
			return nil, err
		}
		all[n] = is.PodCIDR
	}
	return all, nil
}

// dropBridge removes the bridge; its routes and the ports of nodes go with it.
func (c *Cluster) dropBridge() error {
	link, err := netlink.LinkByName(c.bridge())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

// attach gives the network namespace in netns its eth0 on the cluster's bridge.
// It is called in the machine's own namespace.
func (c *Cluster) attach(node string, netns *os.File) error {
	br, err := netlink.LinkByName(c.bridge())
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = c.port(node)
	attrs.MasterIndex = br.Attrs().Index
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: "eth0",
		PeerNamespace: netlink.NsFd(int(netns.Fd())),
	}
	// A port of that name is of a node that died so recently that the kernel
	// has not taken it away yet.
	if old, err := netlink.LinkByName(attrs.Name); err == nil {
		_ = netlink.LinkDel(old)
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("linking node %s to bridge %s: %w; the kernel needs CONFIG_VETH", node, c.bridge(), err)
	}
	return netlink.LinkSetUp(veth)
}

// raiseNode sets up the network of the namespace that the calling thread is in.
func (c *Cluster) raiseNode(node string) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(c.nodeIP(node), 24))}
	if err := errors.Join(h.LinkSetUp(lo), h.AddrReplace(eth, addr), h.LinkSetUp(eth)); err != nil {
		return fmt.Errorf("network of node %s: %w", node, err)
	}
	if !c.Uplink {
		return nil
	}
	return h.RouteReplace(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: c.gateway().AsSlice()})
}

// pickBlock returns a /16 of 10.0.0.0/8 that no route, address or other local
// cluster of this machine uses.
func pickBlock(d Dirs) (netip.Prefix, error) {
	var taken []netip.Prefix
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if a, ok := netip.AddrFromSlice(r.Dst.IP.To4()); ok {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				taken = append(taken, netip.PrefixFrom(a, ones))
			}
		}
	}
	for _, c := range List(d) {
		taken = append(taken, c.Block)
	}
next:
	for second := 128; second < 224; second++ {
		block := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), 0, 0}), 16)
		for _, t := range taken {
			if t.Overlaps(block) {
				continue next
			}
		}
		return block, nil
	}
	return netip.Prefix{}, errors.New("every network from 10.128.0.0/16 to 10.223.0.0/16 is in use on this machine; delete a cluster that is no longer needed")
}

func writeSysctl(name, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0)
}
