package system

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// DefaultAddress returns this machine's address on the link of its default
// route.
func DefaultAddress() (netip.Addr, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, r := range routes {
		if r.Dst != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		if a, ok := netip.AddrFromSlice(r.Src.To4()); ok {
			return a, nil
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			return netip.Addr{}, err
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return netip.Addr{}, err
		}
		if len(addrs) > 0 {
			a, _ := netip.AddrFromSlice(addrs[0].IP.To4())
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("this machine has no default route to take its address from; give --node-ip")
}
