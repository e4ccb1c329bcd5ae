package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"clipper/internal/config"
)

// serverCgroup holds a node's own process, supervisorCgroup the one that keeps
// its containers; pods have cgroups beside them.
const (
	serverCgroup     = "server"
	supervisorCgroup = "supervisor"
)

// Options are what a user asks of Start.
type Options struct {
	Name        string
	Nodes       int
	NoUplink    bool
	MemoryStore bool
	// Port for the API on 127.0.0.1; 0 is a free one, remembered.
	Port uint16
	// Registries maps a registry's name to mirrors that are asked before it.
	Registries map[string][]string
	Debug      bool
	// Program is the file to run for a node, with the argument "run-node".
	Program string
	// Progress is told, in a few words, of each step.
	Progress func(step string)
}

// Message is a line that a node's process writes to the one that started it.
type Message struct {
	Step  string `json:"step,omitempty"`
	Error string `json:"error,omitempty"`
	// Ready is the last line: the node serves and is Ready.
	Ready bool `json:"ready,omitempty"`
}

// The descriptors that a node's process inherits.
const (
	ReadyFD  = 3
	ListenFD = 4
)

// Start creates or resumes a cluster and returns when every node is Ready.
// Starting what runs already only waits for that. A node whose process died
// while its containers lived on gets them back.
func Start(ctx context.Context, d Dirs, o Options) (*Cluster, error) {
	if err := preflight(d); err != nil {
		return nil, err
	}
	if err := checkName(o.Name); err != nil {
		return nil, err
	}
	cg, unlock, err := d.hold(o.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, err := Load(d, o.Name)
	if errors.Is(err, ErrNotFound) {
		c, err = create(d, o)
	}
	if err != nil {
		return nil, err
	}
	if o.Nodes != 0 && o.Nodes != len(c.Nodes) {
		return nil, fmt.Errorf("cluster %q has %d node(s); `clipper delete --name %s` first, to start it with %d", c.Name, len(c.Nodes), c.Name, o.Nodes)
	}
	if o.Port != 0 {
		c.Port = o.Port
	}
	fresh := len(cg.pids(c.cgroup())) == 0
	if fresh {
		// Nothing of the cluster runs: what an earlier one left is in the way.
		if err := errors.Join(cg.remove(c.cgroup()), c.dropBridge()); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(c.raiseBridge(), c.raiseFirewall()); err != nil {
		return nil, err
	}
	for _, n := range c.Nodes {
		if len(cg.members(c.nodeCgroup(n)+"/"+serverCgroup)) > 0 {
			continue
		}
		if err := c.startNode(ctx, cg, n, o); err != nil {
			if fresh {
				// A cluster that never came up leaves nothing running.
				err = errors.Join(err, c.halt(cg))
			}
			return nil, err
		}
	}
	return c, errors.Join(c.raiseRoutes(), c.save())
}

func create(d Dirs, o Options) (*Cluster, error) {
	nodes := max(o.Nodes, 1)
	if nodes > 1 {
		return nil, fmt.Errorf("--nodes=%d: this version runs clusters of one node; leave --nodes out", nodes)
	}
	c := &Cluster{
		Name: o.Name, Nodes: nodeNames(o.Name, nodes),
		Uplink: !o.NoUplink, MemoryStore: o.MemoryStore, dirs: d,
	}
	// Chosen and written down before another cluster chooses.
	unlock, err := d.lockAll()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if c.Block, err = pickBlock(d); err != nil {
		return nil, err
	}
	return c, c.save()
}

// listen opens the API's socket on the machine's loopback. The socket belongs
// to the machine's network namespace, wherever it is served from.
func (c *Cluster) listen() (*os.File, error) {
	l, err := net.Listen("tcp4", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), c.Port).String())
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("port %d on 127.0.0.1, where cluster %q serves its API, is in use; end what uses it, or choose another with --port", c.Port, c.Name)
		}
		return nil, err
	}
	defer l.Close()
	c.Port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	return l.(*net.TCPListener).File()
}

func (c *Cluster) startNode(ctx context.Context, cg *cgroups, node string, o Options) error {
	o.Progress("starting node " + node)
	socket, err := c.listen()
	if err != nil {
		return err
	}
	defer socket.Close()
	for _, dir := range []string{filepath.Join(c.StateDir(), node), c.NodeRunDir(node)} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	file := filepath.Join(c.NodeRunDir(node), "config.json")
	if err := errors.Join(c.save(), c.nodeConfig(node, o).Write(file)); err != nil {
		return err
	}
	log, err := os.OpenFile(c.LogFile(node), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from, _ := log.Seek(0, io.SeekEnd)
	ready, told, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	for _, path := range []string{serverCgroup, supervisorCgroup} {
		if err := cg.make(c.nodeCgroup(node) + "/" + path); err != nil {
			told.Close()
			return err
		}
	}

	cmd := exec.Command(o.Program, "run-node", "--config", file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{ReadyFD - 3: told, ListenFD - 3: socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	join := 0
	if pids := cg.members(c.nodeCgroup(node) + "/" + supervisorCgroup); len(pids) > 0 {
		join = pids[0]
	} else if err := cg.kill(c.nodeCgroup(node)); err != nil {
		// Containers without the process that held them cannot be resumed.
		told.Close()
		return err
	}
	err = c.spawn(cmd, cg, node, join, func(netns *os.File) error { return c.attach(node, netns) })
	told.Close()
	if err != nil {
		return err
	}
	defer cmd.Process.Release()
	return c.awaitReady(ctx, node, ready, from, o.Progress)
}

// awaitReady follows what the node tells of its start.
func (c *Cluster) awaitReady(ctx context.Context, node string, ready *os.File, logFrom int64, progress func(string)) error {
	stop := context.AfterFunc(ctx, func() { ready.Close() })
	defer stop()
	for lines := bufio.NewScanner(ready); lines.Scan(); {
		var m Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("node %s says %q: %w", node, lines.Text(), err)
		}
		switch {
		case m.Ready:
			return nil
		case m.Error != "":
			return fmt.Errorf("node %s: %s", node, m.Error)
		case m.Step != "":
			progress(m.Step)
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("interrupted while node %s started; `clipper start --name %s` tries again, `clipper delete --name %[2]s` removes what is there", node, c.Name)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("node %s was not Ready in time (%w); its log is %s", node, context.Cause(ctx), c.LogFile(node))
	}
	return fmt.Errorf("node %s ended while it started; its log %s ends with:\n%s", node, c.LogFile(node), tail(c.LogFile(node), logFrom))
}

// tail returns the last lines of a log, from an offset on.
func tail(file string, from int64) []byte {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	const most = 2048
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(from, end-most), io.SeekStart)
	}
	data, _ := io.ReadAll(f)
	return bytes.TrimSpace(data)
}

func (c *Cluster) nodeConfig(node string, o Options) *config.Config {
	cfg := &config.Config{
		Cluster: c.Name, Node: node,
		StateDir: filepath.Join(c.StateDir(), node), RunDir: c.NodeRunDir(node),
		CgroupParent: c.nodeCgroup(node), Debug: o.Debug,
		Agent: &config.Agent{
			NodeIP: c.nodeIP(node), PodCIDR: c.nodePodNet(node),
			ClusterPodCIDR: c.podNet(), ServiceCIDR: c.serviceNet(),
			Uplink: c.Uplink, Registries: o.Registries,
		},
	}
	if c.Uplink {
		cfg.Agent.Resolvers = resolvers("/etc/resolv.conf")
	}
	if c.index(node) == 0 {
		cfg.Server = &config.Server{
			Address: c.nodeIP(node), Port: 6443, ListenFD: ListenFD, LocalPort: c.Port,
			ServiceCIDR: c.serviceNet(), PodCIDR: c.podNet(), MemoryStore: c.MemoryStore,
		}
	}
	return cfg
}
