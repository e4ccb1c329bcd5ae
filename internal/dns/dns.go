// Package dns answers the names of a cluster on every node, in-process, after
// the Kubernetes DNS specification 1.1.0, and forwards all other names.
//
// Answers come from an index that informers' events keep up to date: a query
// takes a lookup in a map, and nothing is polled. A name that is not the
// cluster's goes to the configured upstreams, through a small cache; without
// upstreams it fails at once, so that a cluster without an uplink does not
// make its pods wait.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Config of a node's DNS server.
type Config struct {
	// Informers of Services, EndpointSlices and Namespaces; the owner starts them.
	Informers informers.SharedInformerFactory
	// Domain of the cluster; "cluster.local" if empty.
	Domain string
	// ClusterIP of the DNS Service, an address of this machine.
	ClusterIP netip.Addr
	// Listen, if set, is where to listen instead of port 53 of ClusterIP.
	Listen []netip.AddrPort
	// Upstreams answer other names, the first that can; each is an address with
	// or without a port.
	Upstreams []string
	// Shuffle orders the addresses of an answer; nil is rand.Shuffle.
	Shuffle func(n int, swap func(i, j int))
	// Clock; nil is the real one.
	Clock clock.Clock
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// Server is a node's DNS server.
type Server struct {
	cfg     Config
	log     *slog.Logger
	zone    *zone
	forward *forwarder
	ready   chan struct{}
}

// New returns a server; it listens once it is run.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.Shuffle == nil {
		cfg.Shuffle = rand.Shuffle
	}
	if cfg.Domain == "" {
		cfg.Domain = "cluster.local"
	}
	cfg.Domain = strings.ToLower(strings.TrimSuffix(cfg.Domain, "."))
	if _, ok := mdns.IsDomainName(cfg.Domain); !ok {
		return nil, fmt.Errorf("dns: domain %q is not a domain name", cfg.Domain)
	}
	if len(cfg.Listen) == 0 {
		if !cfg.ClusterIP.IsValid() {
			return nil, errors.New("dns: no cluster IP and no address to listen on")
		}
		cfg.Listen = []netip.AddrPort{netip.AddrPortFrom(cfg.ClusterIP, 53)}
	}
	forward, err := newForwarder(&cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, forward: forward, ready: make(chan struct{}),
		zone: newZone(cfg.Domain, cfg.ClusterIP),
	}
	// Ask for the informers now, so that whoever owns the factory starts them.
	cfg.Informers.Core().V1().Services().Informer()
	cfg.Informers.Core().V1().Namespaces().Informer()
	cfg.Informers.Discovery().V1().EndpointSlices().Informer()
	return s, nil
}

// Run answers queries until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stop, err := s.follow(ctx)
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	defer stop()
	if ctx.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2*len(s.cfg.Listen))
	running := 0
	for _, at := range s.cfg.Listen {
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			return fmt.Errorf("dns: %w", err)
		}
		defer udp.Close()
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			return fmt.Errorf("dns: %w", err)
		}
		defer tcp.Close()
		running += 2
		go func() { failed <- s.serveUDP(ctx, udp) }()
		go func() { failed <- s.serveTCP(ctx, tcp) }()
	}
	close(s.ready)
	for range running {
		if e := <-failed; e != nil && err == nil {
			err = e
			cancel()
		}
	}
	s.forward.wait()
	return err
}

// Ready returns once queries are answered.
func (s *Server) Ready(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow has the informers fill the zone, and returns once it is filled.
func (s *Server) follow(ctx context.Context) (stop func(), err error) {
	var undo []func()
	stop = func() {
		for _, u := range undo {
			u()
		}
	}
	var synced []cache.DoneChecker
	f := s.cfg.Informers
	for _, w := range []struct {
		informer cache.SharedIndexInformer
		note     func(o any, exists bool)
	}{
		{f.Core().V1().Namespaces().Informer(), s.zone.noteNamespace},
		{f.Core().V1().Services().Informer(), s.zone.noteService},
		{f.Discovery().V1().EndpointSlices().Informer(), s.zone.noteSlice},
	} {
		reg, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { w.note(o, true) },
			UpdateFunc: func(_, o any) { w.note(o, true) },
			DeleteFunc: func(o any) {
				if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = gone.Obj
				}
				w.note(o, false)
			},
		})
		if err != nil {
			stop()
			return nil, err
		}
		synced = append(synced, reg.HasSyncedChecker())
		undo = append(undo, func() { _ = w.informer.RemoveEventHandler(reg) })
	}
	cache.WaitFor(ctx, "", synced...)
	return stop, nil
}
