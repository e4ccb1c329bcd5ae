package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"clipper/internal/nft"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Sandbox is a pod's network namespace. It has the shape of the runtime's own
// type, so that neither package needs the other.
type Sandbox struct {
	// ID of the sandbox, unique for all time.
	ID string
	// Namespace, Name and UID of the pod.
	Namespace, Name, UID string
	// NetNS is the file that the namespace is pinned to.
	NetNS string
	Ports []PortMapping
}

// PortMapping makes a port of the node lead to the pod.
type PortMapping struct {
	// Protocol is TCP, UDP or SCTP; empty is TCP.
	Protocol      string
	ContainerPort int32
	// HostPort; a mapping whose HostPort is 0 is none.
	HostPort int32
	// HostIP is the node's address to listen on; empty or unspecified: all.
	HostIP string
}

// Setup gives the sandbox's namespace its interfaces and returns its address.
// Doing so again returns the same address and repairs what is missing.
func (n *Network) Setup(ctx context.Context, s Sandbox) ([]netip.Addr, error) {
	if err := n.Ready(ctx); err != nil {
		return nil, err
	}
	defer n.perKey.lock(s.ID)()
	if err := checkPorts(s.Ports); err != nil {
		return nil, fmt.Errorf("network of pod %s/%s: %w", s.Namespace, s.Name, err)
	}
	if old, ok := n.leases.find(s.ID); ok && old.NetNS != s.NetNS {
		if err := n.release(old); err != nil {
			return nil, fmt.Errorf("network of pod %s/%s: %w", s.Namespace, s.Name, err)
		}
	}
	lease, isNew, err := n.leases.take(s)
	if err != nil {
		return nil, fmt.Errorf("network of pod %s/%s: %w", s.Namespace, s.Name, err)
	}
	if err := n.connect(lease, isNew); err != nil {
		err = fmt.Errorf("network of pod %s/%s: %w", s.Namespace, s.Name, err)
		if isNew {
			err = errors.Join(err, n.release(lease))
		}
		return nil, err
	}
	if len(lease.Ports) > 0 {
		n.rules.Set(s.ID, hostPortRules(lease.Ports, lease.IP))
		if err := n.rules.Commit(n.nft); err != nil {
			return nil, errors.Join(fmt.Errorf("host ports of pod %s/%s: %w", s.Namespace, s.Name, err), n.release(lease))
		}
	}
	return []netip.Addr{lease.IP}, nil
}

// Teardown takes away what Setup made. It may be repeated, and is no error for
// a sandbox that was never set up.
func (n *Network) Teardown(ctx context.Context, sandboxID string) error {
	if err := n.Ready(ctx); err != nil {
		return err
	}
	defer n.perKey.lock(sandboxID)()
	lease, ok := n.leases.find(sandboxID)
	if !ok {
		return nil
	}
	if err := n.release(lease); err != nil {
		return fmt.Errorf("network of pod %s/%s: %w", lease.Namespace, lease.Name, err)
	}
	return nil
}

// release gives the address back last, when nothing uses it any more.
func (n *Network) release(l *lease) error {
	if len(l.Ports) > 0 {
		n.rules.Set(l.ID, nft.Fragment{})
		if err := n.rules.Commit(n.nft); err != nil {
			return err
		}
	}
	if err := deleteLink(l.Link); err != nil {
		return err
	}
	return n.leases.release(l)
}

// connect makes the veth pair, unless the lease is an old one whose pair exists.
func (n *Network) connect(l *lease, isNew bool) error {
	ns, err := netns.GetFromPath(l.NetNS)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", l.NetNS, err)
	}
	defer ns.Close()
	if !isNew {
		if _, err := netlink.LinkByName(l.Link); err == nil {
			return configurePod(ns, l.IP, n.gateway)
		}
	}
	return n.connectPod(ns, l)
}

// recover releases the leases of namespaces that are gone, reconnects those
// whose pair is, and deletes pairs that nobody leased.
func (n *Network) recover() error {
	links, err := podLinks()
	if err != nil {
		return err
	}
	for _, l := range n.leases.all() {
		exists := links[l.Link]
		delete(links, l.Link)
		if !isNamespace(l.NetNS) {
			if err := n.release(l); err != nil {
				return err
			}
			continue
		}
		if !exists {
			if err := n.connect(l, true); err != nil {
				// The runtime will find out, and tear it down.
				n.log.Warn("sandbox could not be reconnected", "sandbox", l.ID, "err", err)
				continue
			}
		}
		n.rules.Set(l.ID, hostPortRules(l.Ports, l.IP))
	}
	for name := range links {
		if err := deleteLink(name); err != nil {
			return err
		}
	}
	return nil
}

// isNamespace tells whether a namespace is pinned to the file.
func isNamespace(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}
