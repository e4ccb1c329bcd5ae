// Package proxy makes Services work on a node, by nftables.
//
// Each Service is turned into a fragment of one table by a pure function of the
// Service, its EndpointSlices and the node; package nft sends the kernel what
// differs. Entry points (cluster IPs, node ports, external and load balancer
// addresses) are keys of two verdict maps; each leads to a chain that picks an
// endpoint by a random index into the port's own map. A new endpoint so costs
// one element and one rule, however many Services there are.
//
// Invariants: a connection that was let through stays with its endpoint
// (connections are tracked); nothing sent to the Service network goes further
// than this node untranslated; stopping the process leaves Services working.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"clipper/internal/nft"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Config of a node's proxy.
type Config struct {
	// Informers of Services, EndpointSlices and Nodes; the owner starts them.
	Informers informers.SharedInformerFactory
	// NodeName is the name of this node's Node object.
	NodeName string
	// NodeIPs are the addresses on which node ports answer.
	NodeIPs []netip.Addr
	// ClusterPodCIDR and ServiceCIDR are the cluster's networks. Their family is
	// the one that Services are served for.
	ClusterPodCIDR, ServiceCIDR netip.Prefix
	// Own are cluster IPs that the node answers itself, such as that of DNS:
	// addresses of this machine for which there shall be no rules.
	Own []netip.Addr
	// Clock; nil is the real one.
	Clock clock.Clock
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// Proxy keeps the node's rules in step with the Services.
type Proxy struct {
	cfg    Config
	log    *slog.Logger
	node   node
	model  *nft.Model
	conn   *nft.Conn
	tracks *tracks
	ready  chan struct{}

	mu       sync.Mutex
	services map[types.NamespacedName]*tracked
	dirty    map[types.NamespacedName]struct{}
	wake     chan struct{}
}

// tracked is a Service as last seen, and what has been made of it.
type tracked struct {
	service *corev1.Service // nil: only slices are known
	slices  map[string]*discoveryv1.EndpointSlice
	// order in which each port's endpoints are numbered in the kernel.
	order order
	ports []port
}

// New returns a proxy; it changes nothing in the kernel before Run.
func New(cfg Config) (*Proxy, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	cfg.ServiceCIDR, cfg.ClusterPodCIDR = cfg.ServiceCIDR.Masked(), cfg.ClusterPodCIDR.Masked()
	if !cfg.ServiceCIDR.IsValid() || !cfg.ClusterPodCIDR.IsValid() ||
		cfg.ServiceCIDR.Addr().Is4() != cfg.ClusterPodCIDR.Addr().Is4() {
		return nil, fmt.Errorf("proxy: service CIDR %v and cluster pod CIDR %v: want two networks of one family", cfg.ServiceCIDR, cfg.ClusterPodCIDR)
	}
	p := &Proxy{
		cfg: cfg, log: cfg.Logger, node: newNode(&cfg),
		ready:    make(chan struct{}),
		services: map[types.NamespacedName]*tracked{},
		dirty:    map[types.NamespacedName]struct{}{},
		wake:     make(chan struct{}, 1),
	}
	p.model = nft.NewModel(nft.Table{Family: p.node.family, Name: tableName}, p.node.base())
	p.tracks = newTracks(&p.node, cfg.Logger)
	// Ask for the informers now, so that whoever owns the factory starts them.
	cfg.Informers.Core().V1().Services().Informer()
	cfg.Informers.Core().V1().Nodes().Informer()
	cfg.Informers.Discovery().V1().EndpointSlices().Informer()
	return p, nil
}

// Run keeps the rules until ctx ends. They stay, so that Services keep working.
func (p *Proxy) Run(ctx context.Context) error {
	conn, err := nft.Open()
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	defer conn.Close()
	p.conn = conn
	stop, err := p.follow(ctx)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	defer stop()
	if ctx.Err() != nil {
		return nil
	}
	var cleaner sync.WaitGroup
	cleaner.Go(func() { p.tracks.run(ctx) })
	defer cleaner.Wait()
	p.loop(ctx)
	return nil
}

// Ready returns once the rules are those of the Services at the start.
func (p *Proxy) Ready(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Remove deletes the proxy's table. It is for a node that goes for good.
func (p *Proxy) Remove() error {
	conn, err := nft.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	return p.model.Remove(conn)
}

// follow has the informers tell of changes, and returns once all that is there
// was told.
func (p *Proxy) follow(ctx context.Context) (stop func(), err error) {
	var undo []func()
	stop = func() {
		for _, u := range undo {
			u()
		}
	}
	var synced []cache.DoneChecker
	add := func(i cache.SharedIndexInformer, note func(o any, exists bool)) {
		if err != nil {
			return
		}
		var reg cache.ResourceEventHandlerRegistration
		reg, err = i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { note(o, true) },
			UpdateFunc: func(_, o any) { note(o, true) },
			DeleteFunc: func(o any) {
				if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = gone.Obj
				}
				note(o, false)
			},
		})
		if err == nil {
			synced = append(synced, reg.HasSyncedChecker())
			undo = append(undo, func() { _ = i.RemoveEventHandler(reg) })
		}
	}
	f := p.cfg.Informers
	add(f.Core().V1().Nodes().Informer(), p.noteNode)
	add(f.Core().V1().Services().Informer(), p.noteService)
	add(f.Discovery().V1().EndpointSlices().Informer(), p.noteSlice)
	if err != nil {
		stop()
		return nil, err
	}
	cache.WaitFor(ctx, "", synced...)
	return stop, nil
}

func (p *Proxy) noteService(o any, exists bool) {
	svc, ok := o.(*corev1.Service)
	if !ok {
		return
	}
	key := types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.track(key)
	if t.service = nil; exists {
		t.service = svc
	}
	p.mark(key)
}

func (p *Proxy) noteSlice(o any, exists bool) {
	slice, ok := o.(*discoveryv1.EndpointSlice)
	if !ok || slice.Labels[discoveryv1.LabelServiceName] == "" {
		return
	}
	key := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.track(key)
	if delete(t.slices, slice.Name); exists {
		t.slices[slice.Name] = slice
	}
	p.mark(key)
}

// noteNode follows the zone that this node is in.
func (p *Proxy) noteNode(o any, exists bool) {
	n, ok := o.(*corev1.Node)
	if !ok || n.Name != p.cfg.NodeName || !exists {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if zone := n.Labels[corev1.LabelTopologyZone]; zone != p.node.zone {
		p.node.zone = zone
		for key := range p.services {
			p.mark(key)
		}
	}
}

func (p *Proxy) track(key types.NamespacedName) *tracked {
	t := p.services[key]
	if t == nil {
		t = &tracked{slices: map[string]*discoveryv1.EndpointSlice{}}
		p.services[key] = t
	}
	return t
}

func (p *Proxy) mark(key types.NamespacedName) {
	p.dirty[key] = struct{}{}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// loop makes whatever changes have gathered in one batch. While the kernel
// refuses, it tries again after a while.
func (p *Proxy) loop(ctx context.Context) {
	const firstRetry, lastRetry = time.Second, 30 * time.Second
	delay := firstRetry
	first := true
	for {
		var retry <-chan time.Time
		var timer clock.Timer
		if err := p.sync(); err == nil {
			delay = firstRetry
			if first {
				first = false
				close(p.ready)
			}
		} else {
			p.log.Error("rules of Services were not updated", "err", err, "retry", delay)
			timer = p.cfg.Clock.NewTimer(delay)
			retry = timer.C()
			delay = min(2*delay, lastRetry)
		}
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-retry:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// sync brings the kernel up to date with all that was noted.
func (p *Proxy) sync() error {
	p.mu.Lock()
	for key := range p.dirty {
		t := p.services[key]
		before := t.ports
		t.ports = p.node.ports(t.service, t.slices)
		p.model.Set(key.String(), p.node.fragment(key, t.ports, &t.order))
		p.tracks.changed(before, t.ports)
		if t.service == nil && len(t.slices) == 0 {
			delete(p.services, key)
		}
	}
	clear(p.dirty)
	p.mu.Unlock()
	err := p.model.Commit(p.conn)
	if refused := (*nft.Error)(nil); err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("talk to the kernel: %w", err)
	}
	if err == nil {
		p.tracks.clean()
	}
	return err
}
