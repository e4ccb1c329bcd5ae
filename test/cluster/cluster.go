// Package cluster starts real clusters for tests, with the program that the
// environment variable CLIPPER names (`make test` sets it), each without a way
// out of the machine.
//
// A cluster's name holds the pid of the test that started it. The next test run
// deletes clusters whose test is gone, so nothing stays after a crash.
package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"clipper/test/cgroup"
)

const prefix = "test-"

// Cluster is a running cluster of a test.
type Cluster struct {
	Name string
	// Kubeconfig is a file of its own, with one context.
	Kubeconfig string

	t testing.TB
}

// Program returns the clipper under test.
func Program(t testing.TB) string {
	t.Helper()
	p := os.Getenv("CLIPPER")
	if p == "" {
		// Run from an editor: the program that `make build` built last.
		p = root(t) + "/bin/clipper"
	}
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("%v; run `make build`, or name a clipper in CLIPPER", err)
	}
	return p
}

func root(t testing.TB) string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal("no go.mod above this test")
	return ""
}

// Images returns the archive of the stand-in images that `make test` builds.
func Images(t testing.TB) string {
	t.Helper()
	p := filepath.Join(root(t), "bin", "test-images.tar")
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("%v; run `make test-images`", err)
	}
	return p
}

var (
	count atomic.Int32
	sweep sync.Once
)

// Start starts a cluster that ends with the test. Arguments are further flags
// of `clipper start`.
func Start(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := Reserve(t)
	c.Resume(args...)
	return c
}

// Reserve returns a cluster that the test is to start by itself, and that ends
// with the test, started or not.
func Reserve(t testing.TB) *Cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("tests that start clusters need root")
	}
	sweep.Do(func() { removeAbandoned(t) })
	c := &Cluster{
		Name: fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), count.Add(1)),
		t:    t, Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"),
	}
	t.Cleanup(func() {
		c.checkLogs()
		if t.Failed() {
			c.dumpLog()
		}
		c.Clipper("delete", "--name", c.Name)
	})
	return c
}

// Resume runs `clipper start`, for a cluster whose processes have been killed
// or stopped.
func (c *Cluster) Resume(args ...string) {
	c.t.Helper()
	c.Clipper(append([]string{"start", "--name", c.Name, "--no-uplink"}, args...)...)
}

func removeAbandoned(t testing.TB) {
	entries, _ := os.ReadDir("/var/lib/clipper")
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), prefix)
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if !ok || err != nil || unix.Kill(pid, 0) == nil {
			continue
		}
		if out, err := exec.Command(Program(t), "delete", "--name", e.Name()).CombinedOutput(); err != nil {
			t.Fatalf("deleting an abandoned cluster: %v\n%s", err, out)
		}
	}
}

// Command returns a command that sees the cluster's kubeconfig.
func (c *Cluster) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "KUBECACHEDIR="+c.Cache())
	return cmd
}

// Cache is where kubectl keeps what it was told: a place of the cluster's own,
// as another cluster may have had its address before.
func (c *Cluster) Cache() string { return c.Kubeconfig + ".cache" }

// Clipper runs a clipper command and returns its standard output. It fails the
// test if the command fails.
func (c *Cluster) Clipper(args ...string) string {
	c.t.Helper()
	out, err := c.Try(args...)
	if err != nil {
		c.t.Fatalf("clipper %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// Try is Clipper with an error, which holds what the command wrote on its
// standard error.
func (c *Cluster) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := c.Command(ctx, Program(c.t), args...)
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, bytes.TrimSpace(errout.Bytes()))
	}
	return out.String(), nil
}

// Kubectl runs kubectl and returns its standard output.
func (c *Cluster) Kubectl(args ...string) string {
	c.t.Helper()
	return c.Clipper(append([]string{"kubectl"}, args...)...)
}

// LoadImages gives the nodes the stand-in images.
func (c *Cluster) LoadImages() {
	c.t.Helper()
	c.Clipper("image", "load", "--name", c.Name, Images(c.t))
}

// RestConfig returns how clients reach the API, without a limit on their rate.
func (c *Cluster) RestConfig() *rest.Config {
	c.t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		c.t.Fatal(err)
	}
	cfg.QPS = -1
	return cfg
}

// Client returns a client of the cluster's administrator.
func (c *Cluster) Client() kubernetes.Interface {
	c.t.Helper()
	client, err := kubernetes.NewForConfig(c.RestConfig())
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// Node returns the name of the cluster's first node.
func (c *Cluster) Node() string { return c.Name + "-1" }

// faults are what no log may tell of, whatever a test does. A race is told of by
// a program that `make race` built.
var faults = []string{"WARNING: DATA RACE", "panic", "fatal error: "}

// checkLogs fails the test if a node's process had a fault, also one that it
// outlived or that the test took for a kill.
func (c *Cluster) checkLogs() {
	for file, data := range c.logs() {
		for _, f := range faults {
			if i := bytes.Index(data, []byte(f)); i >= 0 {
				begin := bytes.LastIndexByte(data[:i], '\n') + 1
				c.t.Errorf("%s:\n%s", file, data[begin:min(len(data), begin+8<<10)])
			}
		}
	}
}

func (c *Cluster) dumpLog() {
	for file, data := range c.logs() {
		const most = 16 << 10
		c.t.Logf("%s ends with:\n%s", file, data[max(0, len(data)-most):])
	}
}

// logs returns what the nodes' processes said, by the files that hold it.
func (c *Cluster) logs() map[string][]byte {
	files, _ := filepath.Glob(filepath.Join("/var/lib/clipper", c.Name, "*", "clipper.log"))
	logs := map[string][]byte{}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			logs[file] = data
		}
	}
	return logs
}

// KillServer sends SIGKILL to the node's own process, and leaves its
// containers and their supervisor alone.
func (c *Cluster) KillServer() { c.kill("server") }

// KillAll sends SIGKILL to every process of the node.
func (c *Cluster) KillAll() { c.kill("") }

func (c *Cluster) kill(part string) { c.KillNode(c.Node(), part) }

// KillNode sends SIGKILL to the processes of a node that are in a part of its
// cgroup: its own in "server", all in "".
func (c *Cluster) KillNode(node, part string) {
	c.t.Helper()
	if cgroup.Kill(c.t, filepath.Join(c.Name, node, part)) == 0 {
		c.t.Fatalf("node %s has no process in %q to kill", node, part)
	}
}
