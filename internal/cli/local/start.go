package local

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"

	"clipper/internal/auth"
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
	// Progress is told, in a few words, of each step; one call at a time.
	Progress func(step string)
	// Admit makes a token valid in a cluster whose server runs already, so that
	// further nodes can join it.
	Admit func(context.Context, *Cluster, auth.BootstrapToken) error
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
	if o.Nodes > MaxNodes || o.Nodes != 0 && o.Nodes < len(c.Nodes) {
		return nil, fmt.Errorf("--nodes=%d: cluster %q has %d node(s), and can have up to %d; to make it smaller, `clipper delete --name %s` first", o.Nodes, c.Name, len(c.Nodes), MaxNodes, c.Name)
	}
	c.Nodes = nodeNames(c.Name, max(o.Nodes, len(c.Nodes)))
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
	if err := c.startNodes(ctx, cg, o); err != nil {
		if fresh {
			// A cluster that never came up leaves nothing running.
			err = errors.Join(err, c.halt(cg))
		}
		return nil, err
	}
	shares, err := c.shares(ctx)
	if err != nil {
		return nil, err
	}
	return c, errors.Join(c.raiseRoutes(shares), c.save())
}

// startNodes starts the nodes that do not run, side by side, and returns when
// all of them are Ready.
func (c *Cluster) startNodes(ctx context.Context, cg *cgroups, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var turn sync.Mutex
	progress := o.Progress
	o.Progress = func(step string) {
		turn.Lock()
		defer turn.Unlock()
		progress(step)
	}
	token, err := c.joinToken(ctx, cg, o)
	if err != nil {
		return err
	}
	// Written down before anything runs, so that a delete finds it.
	if err := c.save(); err != nil {
		return err
	}
	failed := make(chan error)
	started := 0
	for i, n := range c.Nodes {
		if c.runs(cg, n) {
			continue
		}
		started++
		if i > 0 {
			go func() {
				wait, err := c.startNode(cg, n, token, o)
				if err == nil {
					err = wait(ctx)
				}
				failed <- err
			}()
			continue
		}
		// The server has an address before the agents, which try it, begin.
		wait, err := c.startNode(cg, n, token, o)
		if err != nil {
			return err
		}
		go func() { failed <- wait(ctx) }()
	}
	var first error
	for range started {
		if err := <-failed; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

func (c *Cluster) runs(cg *cgroups, node string) bool {
	return len(cg.members(c.nodeCgroup(node)+"/"+serverCgroup)) > 0
}

// joinToken returns a token with which the agents that are started now join, if
// there are any.
func (c *Cluster) joinToken(ctx context.Context, cg *cgroups, o Options) (*auth.JoinToken, error) {
	agents := slices.DeleteFunc(slices.Clone(c.Nodes[1:]), func(n string) bool { return c.runs(cg, n) })
	if len(agents) == 0 {
		return nil, nil
	}
	// The server finds the CA that is made here, so that the token can name it.
	pki, err := auth.LoadOrCreate(filepath.Join(c.StateDir(), c.Nodes[0], "pki"), clock.RealClock{})
	if err != nil {
		return nil, err
	}
	t := &auth.JoinToken{}
	if t.BootstrapToken, err = auth.NewBootstrapToken(rand.Reader); err != nil {
		return nil, err
	}
	if t.CA, err = auth.CAHash(pki.CABundle()); err != nil {
		return nil, err
	}
	if c.runs(cg, c.Nodes[0]) && o.Admit != nil {
		err = o.Admit(ctx, c, t.BootstrapToken)
	}
	return t, err
}

func create(d Dirs, o Options) (*Cluster, error) {
	nodes := max(o.Nodes, 1)
	if nodes > MaxNodes {
		return nil, fmt.Errorf("--nodes=%d: a local cluster has at most %d", nodes, MaxNodes)
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

// startNode starts a node's process, and returns the function that waits until
// the node is Ready.
func (c *Cluster) startNode(cg *cgroups, node string, token *auth.JoinToken, o Options) (func(context.Context) error, error) {
	o.Progress("starting node " + node)
	for _, dir := range []string{filepath.Join(c.StateDir(), node), c.NodeRunDir(node)} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	ready, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	inherited := []*os.File{ReadyFD - 3: told}
	defer func() {
		for _, f := range inherited {
			f.Close()
		}
	}()
	if c.index(node) == 0 {
		socket, err := c.listen()
		if err != nil {
			ready.Close()
			return nil, err
		}
		inherited = append(inherited, socket)
		if err := c.save(); err != nil { // with the port
			ready.Close()
			return nil, err
		}
	}
	log, err := os.OpenFile(c.LogFile(node), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		ready.Close()
		return nil, err
	}
	defer log.Close()
	from, _ := log.Seek(0, io.SeekEnd)
	if err := c.launch(cg, node, token, o, log, inherited); err != nil {
		ready.Close()
		return nil, err
	}
	return func(ctx context.Context) error {
		defer ready.Close()
		return c.awaitReady(ctx, node, ready, from, o.Progress)
	}, nil
}

// launch runs the node's process in the node's namespaces and cgroup.
func (c *Cluster) launch(cg *cgroups, node string, token *auth.JoinToken, o Options, log *os.File, inherited []*os.File) error {
	file := filepath.Join(c.NodeRunDir(node), "config.json")
	if err := c.nodeConfig(node, token, o).Write(file); err != nil {
		return err
	}
	for _, path := range []string{serverCgroup, supervisorCgroup} {
		if err := cg.make(c.nodeCgroup(node) + "/" + path); err != nil {
			return err
		}
	}
	cmd := exec.Command(o.Program, "run-node", "--config", file)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, inherited
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	join := 0
	if pids := cg.members(c.nodeCgroup(node) + "/" + supervisorCgroup); len(pids) > 0 {
		join = pids[0]
	} else if err := cg.kill(c.nodeCgroup(node)); err != nil {
		// Containers without the process that held them cannot be resumed.
		return err
	}
	if err := c.spawn(cmd, cg, node, join, func(netns *os.File) error { return c.attach(node, netns) }); err != nil {
		return err
	}
	return cmd.Process.Release()
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

func (c *Cluster) nodeConfig(node string, token *auth.JoinToken, o Options) *config.Config {
	cfg := &config.Config{
		Cluster: c.Name, Node: node,
		StateDir: filepath.Join(c.StateDir(), node), RunDir: c.NodeRunDir(node),
		CgroupParent: c.nodeCgroup(node), Debug: o.Debug,
		Agent: &config.Agent{NodeIP: c.nodeIP(node), Uplink: c.Uplink, Registries: o.Registries},
	}
	if c.Uplink {
		cfg.Agent.Resolvers = resolvers("/etc/resolv.conf")
	}
	if c.index(node) == 0 {
		cfg.Server = &config.Server{
			Address: c.nodeIP(node), Port: apiPort, ListenFD: ListenFD, LocalPort: c.Port,
			ServiceCIDR: c.serviceNet(), PodCIDR: c.podNet(), MemoryStore: c.MemoryStore,
		}
		if token != nil {
			cfg.Server.JoinToken = token.BootstrapToken.String()
		}
		return cfg
	}
	cfg.Agent.Server = "https://" + c.API().String()
	if token != nil {
		cfg.Agent.Token = token.String()
	}
	return cfg
}

// apiPort is where the server's own address serves the API.
const apiPort = 6443

// API returns where the cluster's nodes, and all of this machine, reach the API.
func (c *Cluster) API() netip.AddrPort { return netip.AddrPortFrom(c.nodeIP(c.Nodes[0]), apiPort) }
