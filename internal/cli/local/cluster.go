// Package local manages clusters on this machine. Every node of such a cluster
// is a process in namespaces of its own (network, mount, UTS, IPC), joined to
// the machine by one bridge per cluster, so that several nodes and several
// clusters stand side by side.
//
// Nothing of a node is pinned on the machine: its namespaces, and with them all
// its mounts, links, routes and rules, live exactly as long as its processes.
// What can outlive them has a name derived from the cluster's (a bridge, cgroups,
// two folders), so that Delete finds it, no matter where a start was cut off.
package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"clipper/internal/config"
)

// Dirs are the folders that hold all local clusters.
type Dirs struct {
	// State outlives a reboot, Run need not.
	State, Run string
}

// DefaultDirs are the usual folders.
func DefaultDirs() Dirs { return Dirs{State: "/var/lib/clipper", Run: "/run/clipper"} }

// Cluster is what is remembered of a local cluster.
type Cluster struct {
	Name  string   `json:"name"`
	Nodes []string `json:"nodes"`
	// Block is the /16 that the cluster's nodes, Services and pods share.
	Block netip.Prefix `json:"block"`
	// Port on which 127.0.0.1 serves the API.
	Port        uint16 `json:"port"`
	Uplink      bool   `json:"uplink"`
	MemoryStore bool   `json:"memoryStore,omitempty"`

	dirs Dirs
}

// ErrNotFound is returned when there is no cluster of a name.
var ErrNotFound = errors.New("no such cluster")

// A name becomes part of a bridge's, a cgroup's and a context's name.
const maxName = 40

// checkName goes by hand, since a pattern would be compiled on every start.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxName && name[0] != '-' && name[len(name)-1] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	if !ok {
		return fmt.Errorf("cluster name %q: use at most %d lower-case letters, digits and inner '-'", name, maxName)
	}
	if name == config.Standalone {
		return fmt.Errorf("cluster name %q: `clipper server` keeps its own state under this name; choose another", name)
	}
	return nil
}

// Context returns the cluster's context in a kubeconfig.
func Context(name string) string {
	if name == "clipper" {
		return name
	}
	return "clipper-" + name
}

func (d Dirs) file(name string) string { return filepath.Join(d.State, name, "cluster.json") }

// Load returns the cluster of a name, or ErrNotFound.
func Load(d Dirs, name string) (*Cluster, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q; `clipper start --name %s` creates it", ErrNotFound, name, name)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; run the command with sudo", err)
	}
	if err != nil {
		return nil, err
	}
	c := &Cluster{dirs: d}
	if err = json.Unmarshal(data, c); err == nil {
		err = c.check(name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged (%w); `clipper delete --name %s` removes the cluster", d.file(name), err, name)
	}
	return c, nil
}

// check tells whether what was read can be the cluster of a name.
func (c *Cluster) check(name string) error {
	switch {
	case c.Name != name:
		return fmt.Errorf("it is of a cluster %q", c.Name)
	case len(c.Nodes) == 0 || len(c.Nodes) > MaxNodes || !slices.Equal(c.Nodes, nodeNames(name, len(c.Nodes))):
		return errors.New("it does not hold the cluster's nodes")
	case !c.Block.IsValid() || !c.Block.Addr().Is4() || c.Block.Bits() != 16 || c.Block != c.Block.Masked():
		return fmt.Errorf("the addresses %q are no /16", c.Block)
	}
	return nil
}

// List returns all local clusters, by name. A folder that holds no cluster, or
// a damaged one, is left out.
func List(d Dirs) []*Cluster {
	entries, _ := os.ReadDir(d.State)
	var all []*Cluster
	for _, e := range entries {
		if c, err := Load(d, e.Name()); err == nil {
			all = append(all, c)
		}
	}
	return all
}

func (c *Cluster) save() error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.StateDir(), 0o711); err != nil {
		return err
	}
	tmp := c.dirs.file(c.Name) + ".new"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.dirs.file(c.Name))
}

// lock keeps two commands from changing one cluster at the same time. It
// returns the function that lets go.
func (d Dirs) lock(name string) (func(), error) {
	path := filepath.Join(d.Run, "."+name+".lock")
	f, err := flock(path, unix.LOCK_EX|unix.LOCK_NB, func() (*os.File, error) {
		if err := os.MkdirAll(d.Run, 0o711); err != nil {
			return nil, err
		}
		return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	})
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another command is working on cluster %q; try again when it is done", name)
	}
	if err != nil {
		return nil, err
	}
	return func() {
		// The file goes while the lock is held, so none is left behind.
		os.Remove(path)
		f.Close()
	}, nil
}

// hold locks a cluster, and returns where its cgroups are and the function that
// lets go.
func (d Dirs) hold(name string) (*cgroups, func(), error) {
	cg, err := findCgroups()
	if err != nil {
		return nil, nil, err
	}
	unlock, err := d.lock(name)
	return cg, unlock, err
}

// lockAll waits until no other command chooses addresses, and returns the
// function that lets go.
func (d Dirs) lockAll() (func(), error) {
	f, err := flock(d.State, unix.LOCK_EX, func() (*os.File, error) {
		if err := os.MkdirAll(d.State, 0o711); err != nil {
			return nil, err
		}
		return os.Open(d.State)
	})
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// flock opens and locks the file at path. Whoever held it before may have
// removed it meanwhile: then what is there now is opened and locked.
func flock(path string, how int, open func() (*os.File, error)) (*os.File, error) {
	const tries = 100
	for range tries {
		f, err := open()
		if errors.Is(err, fs.ErrNotExist) {
			continue // its folder was removed between being made and opened
		}
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), how)
		for err == unix.EINTR {
			err = unix.Flock(int(f.Fd()), how)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		mine, err := f.Stat()
		if there, thereErr := os.Stat(path); err == nil && thereErr == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("locking %s: it is removed as fast as it is made", path)
}

// StateDir and RunDir return the cluster's own folders.
func (c *Cluster) StateDir() string { return filepath.Join(c.dirs.State, c.Name) }
func (c *Cluster) RunDir() string   { return filepath.Join(c.dirs.Run, c.Name) }

// NodeRunDir returns a node's folder for sockets and the like.
func (c *Cluster) NodeRunDir(node string) string { return filepath.Join(c.RunDir(), node) }

// LogFile returns where a node's process logs.
func (c *Cluster) LogFile(node string) string {
	return filepath.Join(c.StateDir(), node, "clipper.log")
}

// Socket returns the unix socket on which a node answers its machine's root.
func (c *Cluster) Socket(node string) string {
	return filepath.Join(c.NodeRunDir(node), config.SocketName)
}

// The block's parts: nodes in the first /24, Services in a /20, pods in the
// upper half, of which each node gets a /24 from the cluster.
func (c *Cluster) part(third byte, bits int) netip.Prefix {
	b := c.Block.Addr().As4()
	b[2] = third
	return netip.PrefixFrom(netip.AddrFrom4(b), bits)
}

func (c *Cluster) nodeNet() netip.Prefix    { return c.part(0, 24) }
func (c *Cluster) serviceNet() netip.Prefix { return c.part(16, 20) }
func (c *Cluster) podNet() netip.Prefix     { return c.part(128, 17) }

func (c *Cluster) gateway() netip.Addr { return c.nodeNet().Addr().Next() }

func (c *Cluster) index(node string) int { return slices.Index(c.Nodes, node) }

func (c *Cluster) nodeIP(node string) netip.Addr {
	b := c.nodeNet().Addr().As4()
	b[3] = byte(2 + c.index(node))
	return netip.AddrFrom4(b)
}

// MaxNodes is how many nodes a local cluster can have: one /24 of the pods'
// half of the block each.
const MaxNodes = 100

func nodeNames(cluster string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", cluster, i+1)
	}
	return names
}

// NodeIP returns a node's address.
func (c *Cluster) NodeIP(node string) netip.Addr { return c.nodeIP(node) }

// Processes tells for each node whether its own process runs.
func (c *Cluster) Processes() (map[string]bool, error) {
	cg, err := findCgroups()
	if err != nil {
		return nil, err
	}
	running := map[string]bool{}
	for _, n := range c.Nodes {
		running[n] = len(cg.members(c.nodeCgroup(n)+"/"+serverCgroup)) > 0
	}
	return running, nil
}
