// Package network is the pod network of one node.
//
// Every pod has a veth pair, one end in its namespace, the other on the node,
// and the node a route to it. A pod's address is a /32 whose only neighbour is
// the node; so all that a pod sends is routed by the node, where Services,
// policies and NAT see it, a pod can send as nobody but itself, and no switch
// can bring packets past the rules. Other nodes' pods are reached through
// routes to those nodes.
//
// Invariants: addresses of the pod and Service networks that lead nowhere are
// unreachable here and never leave the node; an address is given to one
// sandbox at a time, also across restarts, and comes back as late as it can;
// stopping the process leaves pods connected.
package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"clipper/internal/nft"

	"k8s.io/client-go/tools/cache"
)

// Config of a node's network.
type Config struct {
	// NodeName is the name of this node's Node object.
	NodeName string
	// StateDir holds a file for each sandbox; it is made if it is not there.
	StateDir string
	// PodCIDR is this node's share of ClusterPodCIDR; its first address is the
	// node's own, the last one is not used.
	PodCIDR netip.Prefix
	// ClusterPodCIDR and ServiceCIDR are the cluster's networks.
	ClusterPodCIDR, ServiceCIDR netip.Prefix
	// Device is the name of the link that has the node's addresses in the
	// cluster's networks; "clipper0" if empty.
	Device string
	// NodeIP, an address of this machine, is the source of what the node itself
	// sends to Services. If invalid, its first pod address is.
	NodeIP netip.Addr
	// Addresses are further ones that the node answers on, such as the cluster
	// IP of the DNS Service.
	Addresses []netip.Addr
	// Uplink lets pods reach the world beyond the cluster, by the node's address.
	Uplink bool
	// MTU of pods; 0 is that of the interface with NodeIP, or 1500.
	MTU int
	// Nodes is an informer of Node objects, for the routes to the others; nil
	// if there is no other.
	Nodes cache.SharedIndexInformer
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// Network is a node's pod network. Its methods are safe for concurrent use.
type Network struct {
	cfg     Config
	log     *slog.Logger
	gateway netip.Addr
	mtu     int
	device  int // its index

	leases   *leases
	nft      *nft.Conn
	rules    *nft.Model
	peers    *peers
	perKey   keyed
	ready    chan struct{}
	readyErr error
	once     sync.Once
}

// New checks the configuration and loads the leases; it changes nothing in the
// kernel yet.
func New(cfg Config) (*Network, error) {
	if cfg.Device == "" {
		cfg.Device = "clipper0"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if !cfg.PodCIDR.Addr().Is4() || cfg.PodCIDR.Bits() > 30 {
		return nil, fmt.Errorf("network: pod CIDR %v: want an IPv4 network of /30 or larger", cfg.PodCIDR)
	}
	if !cfg.ClusterPodCIDR.Overlaps(cfg.PodCIDR) || cfg.ClusterPodCIDR.Bits() > cfg.PodCIDR.Bits() {
		return nil, fmt.Errorf("network: pod CIDR %v is not part of the cluster's, %v", cfg.PodCIDR, cfg.ClusterPodCIDR)
	}
	if !cfg.ServiceCIDR.Addr().Is4() || cfg.ServiceCIDR.Overlaps(cfg.ClusterPodCIDR) {
		return nil, fmt.Errorf("network: service CIDR %v must be an IPv4 network apart from the pods', %v", cfg.ServiceCIDR, cfg.ClusterPodCIDR)
	}
	cfg.PodCIDR = cfg.PodCIDR.Masked()
	leases, err := openLeases(cfg.StateDir, cfg.PodCIDR, cfg.Logger)
	if err != nil {
		return nil, err
	}
	n := &Network{
		cfg: cfg, log: cfg.Logger, gateway: cfg.PodCIDR.Addr().Next(),
		leases: leases, ready: make(chan struct{}),
	}
	n.rules = nft.NewModel(nft.Table{Family: nft.IPv4, Name: tableName}, baseRules(&n.cfg))
	n.peers = newPeers(&n.cfg)
	return n, nil
}

// Run raises the network, keeps the routes to other nodes and blocks until ctx
// ends. What it made stays, so that pods stay connected.
func (n *Network) Run(ctx context.Context) error {
	if err := n.start(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer n.nft.Close()
	return n.peers.run(ctx)
}

func (n *Network) start() (err error) {
	defer n.once.Do(func() {
		n.readyErr = err
		close(n.ready)
	})
	if n.nft, err = nft.Open(); err != nil {
		return err
	}
	if err = n.raise(); err != nil {
		return err
	}
	if err = n.recover(); err != nil {
		return err
	}
	return n.rules.Commit(n.nft)
}

// Ready returns once sandboxes can be set up, or with the reason why not.
func (n *Network) Ready(ctx context.Context) error {
	select {
	case <-n.ready:
		return n.readyErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Remove takes the device, the pods' links, the routes and the rules away
// from this machine; leases stay. It is for a node that goes for good.
func (n *Network) Remove() error {
	conn, err := nft.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	return errors.Join(n.rules.Remove(conn), n.lower(), n.leases.close())
}

// keyed gives out a lock for each key.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*keyLock
}

type keyLock struct {
	sync.Mutex
	users int
}

func (k *keyed) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*keyLock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &keyLock{}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
		k.mu.Unlock()
	}
}
