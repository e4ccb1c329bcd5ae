package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// routeProtocol marks this package's routes as such.
	routeProtocol = 99
	// lastResort is a metric behind that of any route that leads somewhere.
	lastResort = 1 << 30
)

// raise makes the node's device, its addresses and the node's routes, or
// repairs them. The device is a bridge without ports: all it does is to have
// addresses and routes, and unlike dummies bridges are in every kernel that
// local clusters run on.
func (n *Network) raise() error {
	if err := n.findMTU(); err != nil {
		return err
	}
	name := n.cfg.Device
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, n.mtu
	err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("create %s: %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	if link.Type() != "bridge" {
		return fmt.Errorf("device %s: there is a link of this name that is a %s", name, link.Type())
	}
	n.device = link.Attrs().Index
	if err := raise(n.device); err != nil {
		return fmt.Errorf("raise %s: %w", name, err)
	}
	if err := n.setAddresses(link); err != nil {
		return err
	}
	if err := n.setSysctls(); err != nil {
		return err
	}
	return n.setRoutes()
}

// findMTU takes the MTU of the interface with the node's address.
func (n *Network) findMTU() error {
	if n.mtu = n.cfg.MTU; n.mtu != 0 {
		return nil
	}
	n.mtu = 1500
	if !n.cfg.NodeIP.IsValid() {
		return nil
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, _ := netip.AddrFromSlice(a.IP.To4()); ip == n.cfg.NodeIP {
			link, err := netlink.LinkByIndex(a.LinkIndex)
			if err != nil {
				return fmt.Errorf("interface of %v: %w", ip, err)
			}
			n.mtu = min(link.Attrs().MTU, n.mtu)
			return nil
		}
	}
	return fmt.Errorf("node IP %v is not an address of this machine", n.cfg.NodeIP)
}

// setAddresses leaves the device with exactly its own addresses, the gateway's
// first, which so is the one that the kernel prefers as a source.
func (n *Network) setAddresses(link netlink.Link) error {
	want := []netip.Prefix{netip.PrefixFrom(n.gateway, n.gateway.BitLen())}
	for _, a := range n.cfg.Addresses {
		want = append(want, netip.PrefixFrom(a, a.BitLen()))
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	var have []netip.Prefix
	for _, a := range list {
		bits, _ := a.Mask.Size()
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		p := netip.PrefixFrom(ip, bits)
		if have = append(have, p); slices.Contains(want, p) {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("delete address %v: %w", p, err)
		}
	}
	for _, p := range want {
		if slices.Contains(have, p) {
			continue
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
			return fmt.Errorf("add address %v to %s: %w", p, n.cfg.Device, err)
		}
	}
	return nil
}

// setSysctls of the node's namespace.
func (n *Network) setSysctls() error {
	for _, s := range []struct{ key, value, why string }{
		{"ipv4/ip_forward", "1", "the node routes for its pods"},
		{"ipv4/conf/all/send_redirects", "0", "pods' links alone do not decide about it"},
	} {
		path := "/proc/sys/net/" + s.key
		have, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(have)) == s.value {
			continue // even where /proc/sys is read-only
		}
		if err == nil {
			err = os.WriteFile(path, []byte(s.value), 0)
		}
		if err != nil {
			return fmt.Errorf("set sysctl: %w", err)
		}
	}
	return nil
}

// setRoutes makes the cluster's networks lead to the device or nowhere.
func (n *Network) setRoutes() error {
	service := &netlink.Route{
		// What the node itself sends to a Service is translated after this route
		// was chosen for it; what is not translated finds nobody on the device.
		Dst: ipNet(n.cfg.ServiceCIDR.Masked()), LinkIndex: n.device, Scope: netlink.SCOPE_LINK,
		Protocol: routeProtocol,
	}
	if n.cfg.NodeIP.IsValid() {
		service.Src = n.cfg.NodeIP.AsSlice()
	}
	routes := []*netlink.Route{service}
	for _, cidr := range []netip.Prefix{n.cfg.ServiceCIDR, n.cfg.ClusterPodCIDR} {
		routes = append(routes, &netlink.Route{
			Dst: ipNet(cidr.Masked()), Type: unix.RTN_UNREACHABLE,
			Priority: lastResort, Protocol: routeProtocol,
		})
	}
	for _, r := range routes {
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("add route to %v: %w", r.Dst, err)
		}
	}
	return nil
}

// lower deletes the device, the pods' links and the routes.
func (n *Network) lower() error {
	ours, err := netlink.RouteListFiltered(netlink.FAMILY_V4,
		&netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	var errs []error
	for _, r := range ours {
		// Routes also go with their links.
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("delete route to %v: %w", r.Dst, err))
		}
	}
	pods, err := podLinks()
	errs = append(errs, err)
	for name := range pods {
		errs = append(errs, deleteLink(name))
	}
	return errors.Join(append(errs, deleteLink(n.cfg.Device))...)
}

// podLinks returns the names of the pods' links.
func podLinks() (map[string]bool, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	pods := map[string]bool{}
	for _, l := range all {
		if a := l.Attrs(); a.Group == linkGroup {
			pods[a.Name] = true
		}
	}
	return pods, nil
}
