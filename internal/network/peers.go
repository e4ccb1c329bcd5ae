package network

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
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
	dirty map[string]struct{}
	wake  chan struct{}

	routes map[string]peer // in the kernel, by node
}

// peer is how a node's pods are reached; zero if they are not.
type peer struct {
	pods netip.Prefix
	via  netip.Addr
}

func newPeers(cfg *Config) *peers {
	return &peers{
		cfg: cfg, log: cfg.Logger,
		nodes: map[string]peer{}, dirty: map[string]struct{}{}, routes: map[string]peer{},
		wake: make(chan struct{}, 1),
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
	p.dropStale()
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
	p.dirty[node.Name] = struct{}{}
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

// apply brings the routes of changed nodes up to date.
func (p *peers) apply() {
	p.mu.Lock()
	changed := make(map[string]peer, len(p.dirty))
	for name := range p.dirty {
		changed[name] = p.nodes[name]
	}
	clear(p.dirty)
	p.mu.Unlock()
	for name, now := range changed {
		old := p.routes[name]
		if old.pods.IsValid() && old.pods != now.pods && !p.inUse(name, old) {
			if err := netlink.RouteDel(&netlink.Route{Dst: ipNet(old.pods), Protocol: routeProtocol}); err != nil && !errors.Is(err, unix.ESRCH) {
				p.log.Error("route to a node's pods was not deleted", "node", name, "cidr", old.pods, "err", err)
			}
		}
		delete(p.routes, name)
		if !now.pods.IsValid() {
			continue
		}
		err := netlink.RouteReplace(&netlink.Route{
			Dst: ipNet(now.pods), Gw: now.via.AsSlice(), Protocol: routeProtocol,
		})
		if err != nil {
			p.log.Error("no route to a node's pods: its address must be on a network of this node",
				"node", name, "cidr", now.pods, "via", now.via, "err", err)
			continue
		}
		p.routes[name] = now
	}
}

// inUse tells whether another node has taken over the network.
func (p *peers) inUse(name string, at peer) bool {
	for other, r := range p.routes {
		if other != name && r.pods == at.pods {
			return true
		}
	}
	return false
}

// dropStale deletes routes to nodes that went while this process was not running.
func (p *peers) dropStale() {
	p.mu.Lock()
	known := map[string]bool{}
	for _, at := range p.nodes {
		known[ipNet(at.pods).String()] = true
	}
	p.mu.Unlock()
	ours, err := netlink.RouteListFiltered(netlink.FAMILY_V4,
		&netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		p.log.Error("routes could not be listed", "err", err)
		return
	}
	for _, r := range ours {
		if r.Gw == nil || known[r.Dst.String()] {
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			p.log.Error("stale route was not deleted", "route", r.String(), "err", err)
		}
	}
}
