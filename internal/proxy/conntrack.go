package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tracks makes the kernel forget the connections of datagrams that lead to
// where they should not any more. A TCP connection ends with its endpoint; for
// UDP a client that keeps sending would keep its endpoint, or the absence of
// one, for ever.
type tracks struct {
	node *node
	log  *slog.Logger

	mu sync.Mutex
	// stale are fronts with changes that are not in the kernel yet, due those
	// that are. Each has the endpoints it may lead to.
	stale, due map[front][]netip.AddrPort
	wake       chan struct{}
}

// front is what clients send to.
type front struct {
	ip   netip.Addr
	port uint16
}

func newTracks(n *node, log *slog.Logger) *tracks {
	return &tracks{
		node: n, log: log,
		stale: map[front][]netip.AddrPort{}, due: map[front][]netip.AddrPort{},
		wake: make(chan struct{}, 1),
	}
}

// changed notes how a Service's ports change.
func (t *tracks) changed(before, now []port) {
	old, new := t.node.fronts(before), t.node.fronts(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	for f := range old {
		if _, still := new[f]; !still {
			t.stale[f] = nil
		}
	}
	for f, endpoints := range new {
		was, existed := old[f]
		lost := slices.ContainsFunc(was, func(e netip.AddrPort) bool {
			_, still := slices.BinarySearchFunc(endpoints, e, compareAddrPort)
			return !still
		})
		// Also where there was nowhere to go: those packets went untranslated.
		if lost || existed && len(was) == 0 && len(endpoints) > 0 {
			t.stale[f] = endpoints
		}
	}
}

// fronts of the UDP ports, with the endpoints they lead to, sorted.
func (n *node) fronts(ports []port) map[front][]netip.AddrPort {
	all := map[front][]netip.AddrPort{}
	for _, p := range ports {
		if p.protocol != unix.IPPROTO_UDP {
			continue
		}
		both := slices.Concat(p.all, p.local)
		slices.SortFunc(both, compareAddrPort)
		both = slices.Compact(both)
		for _, ip := range slices.Concat(p.cluster, p.external) {
			all[front{ip, p.number}] = both
		}
		if p.nodePort != 0 {
			for _, ip := range n.ips {
				all[front{ip, p.nodePort}] = both
			}
		}
	}
	return all
}

// clean lets run see to the changes, which are in the kernel now.
func (t *tracks) clean() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.stale) == 0 {
		return
	}
	for f, endpoints := range t.stale {
		t.due[f] = endpoints
	}
	clear(t.stale)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run deletes entries until ctx ends. It goes through all that the kernel
// tracks, so it is no part of the way of a change.
func (t *tracks) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		t.mu.Lock()
		due := t.due
		t.due = map[front][]netip.AddrPort{}
		t.mu.Unlock()
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.InetFamily(t.node.family), wrong(due)); err != nil {
			t.log.Warn("tracked connections were not all checked", "err", err)
		}
	}
}

// wrong matches tracked connections to a front that lead to none of its endpoints.
type wrong map[front][]netip.AddrPort

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (w wrong) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	dst, _ := netip.AddrFromSlice(flow.Forward.DstIP)
	src, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
	endpoints, ok := w[front{dst.Unmap(), flow.Forward.DstPort}]
	if !ok {
		return false
	}
	_, right := slices.BinarySearchFunc(endpoints, netip.AddrPortFrom(src.Unmap(), flow.Reverse.SrcPort), compareAddrPort)
	return !right
}
