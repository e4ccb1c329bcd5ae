package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// peers keeps a route to the pods of every other node, by way of that node's
// address.
type peers struct {
	cfg *Config
	log *slog.Logger

	mu    sync.Mutex
	nodes map[string]peer
	wake  chan struct{}

	routes map[netip.Prefix]netip.Addr // in the kernel: pods' networks, and by way of whom
}

// peer is how a node's pods are reached; zero if they are not.
type peer struct {
	pods netip.Prefix
	via  netip.Addr
}

func newPeers(cfg *Config) *peers {
	return &peers{
		cfg: cfg, log: cfg.Logger,
		nodes: map[string]peer{}, wake: make(chan struct{}, 1),
	}
}

// run follows the Node objects until ctx ends.
func (p *peers) run(ctx context.Context) error {
	if p.cfg.Nodes == nil {
		<-ctx.Done()
		return nil
	}
	reg, err := p.cfg.Nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.note(o, true) },
		UpdateFunc: func(_, o any) { p.note(o, true) },
		DeleteFunc: func(o any) { p.note(o, false) },
	})
	if err != nil {
		return err
	}
	defer func() { _ = p.cfg.Nodes.RemoveEventHandler(reg) }()
	if !cache.WaitFor(ctx, "", reg.HasSyncedChecker()) {
		return nil
	}
	if p.routes, err = kernelRoutes(); err != nil {
		return fmt.Errorf("routes to other nodes' pods: %w", err)
	}
	for {
		p.apply()
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
	}
}

func (p *peers) note(o any, exists bool) {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	node, ok := o.(*corev1.Node)
	if !ok || node.Name == p.cfg.NodeName {
		return
	}
	var now peer
	if exists {
		now = p.reach(node)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nodes[node.Name] == now {
		return // nodes change all the time, but seldom in this
	}
	if p.nodes[node.Name] = now; now == (peer{}) {
		delete(p.nodes, node.Name)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// reach reads from a Node where its pods are; it trusts it with none of this
// node's own addresses.
func (p *peers) reach(node *corev1.Node) (at peer) {
	cidrs := node.Spec.PodCIDRs
	if len(cidrs) == 0 {
		cidrs = []string{node.Spec.PodCIDR}
	}
	for _, c := range cidrs {
		if cidr, err := netip.ParsePrefix(c); err == nil && cidr.Addr().Is4() {
			at.pods = cidr.Masked()
			break
		}
	}
	for _, a := range node.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP && ip.Is4() {
			at.via = ip
			break
		}
	}
	cluster := p.cfg.ClusterPodCIDR
	if !at.via.IsValid() || !at.pods.IsValid() || at.pods.Overlaps(p.cfg.PodCIDR) ||
		at.pods.Bits() < cluster.Bits() || !cluster.Contains(at.pods.Addr()) {
		return peer{}
	}
	return at
}

// apply brings the kernel's routes to what the nodes say now.
func (p *peers) apply() {
	want := p.want()
	for dst := range p.routes {
		if _, ok := want[dst]; ok {
			continue
		}
		err := netlink.RouteDel(&netlink.Route{Dst: ipNet(dst), Protocol: routeProtocol})
		if err != nil && !errors.Is(err, unix.ESRCH) {
			p.log.Error("route to a node's pods was not deleted", "cidr", dst, "err", err)
			continue
		}
		delete(p.routes, dst)
	}
	for dst, via := range want {
		if p.routes[dst] == via {
			continue
		}
		err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice(), Protocol: routeProtocol})
		if err != nil {
			p.log.Error("no route to a node's pods: its address must be on a network of this node",
				"cidr", dst, "via", via, "err", err)
			continue
		}
		p.routes[dst] = via
	}
}

// want is the routes that the nodes call for. Of two nodes that claim one
// network, the first by name has it, so that no order of events decides.
func (p *peers) want() map[netip.Prefix]netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	want := make(map[netip.Prefix]netip.Addr, len(p.nodes))
	for _, name := range slices.Sorted(maps.Keys(p.nodes)) {
		if at := p.nodes[name]; !want[at.pods].IsValid() {
			want[at.pods] = at.via
		}
	}
	return want
}

// kernelRoutes is what an earlier process left of such routes.
func kernelRoutes() (map[netip.Prefix]netip.Addr, error) {
	list, err := netlink.RouteListFiltered(netlink.FAMILY_V4,
		&netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, err
	}
	routes := map[netip.Prefix]netip.Addr{}
	for _, r := range list {
		if r.Gw == nil || r.Dst == nil {
			continue
		}
		dst, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		via, okVia := netip.AddrFromSlice(r.Gw.To4())
		if bits, _ := r.Dst.Mask.Size(); ok && okVia {
			routes[netip.PrefixFrom(dst, bits)] = via
		}
	}
	return routes, nil
}
