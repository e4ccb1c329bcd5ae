// Package cli runs the built program as a user does: its commands, its mistakes,
// and the ends of its clusters.
package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"clipper/test/cgroup"
	"clipper/test/cluster"
	"clipper/test/leftover"
	"clipper/test/script"
)

func TestScripts(t *testing.T) {
	public := publicProgram(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			c, second := cluster.Reserve(t), cluster.Reserve(t)
			script.Setup(env, c, cluster.Program(t))
			env.Setenv("SECOND", second.Name)
			env.Setenv("IMAGES", cluster.Images(t))
			env.Setenv("PUBLIC", public)
			t.Cleanup(func() {
				for _, name := range []string{c.Name, second.Name} {
					c.Clipper("delete", "--name", name)
					for _, l := range leftover.Of(name) {
						t.Errorf("still there: %s", l)
					}
				}
			})
			return nil
		},
		Cmds: script.Commands,
	})
}

// publicProgram returns a folder that every user can enter, with clipper in it.
func publicProgram(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(cluster.Program(t))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "clipper"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestHelp asks every command of the built program for its help, as it lists them.
func TestHelp(t *testing.T) {
	var visit func(path ...string)
	seen := 0
	visit = func(path ...string) {
		out, err := exec.CommandContext(t.Context(), cluster.Program(t), append(path, "--help")...).Output()
		name := "clipper " + strings.Join(path, " ")
		if len(path) > 0 && path[0] == "kubectl" {
			if err != nil || !strings.Contains(string(out), "kubectl controls the Kubernetes cluster manager") {
				t.Errorf("%s --help: %v\n%s", name, err, out)
			}
			return
		}
		if err != nil || !strings.Contains(string(out), "Usage:") {
			t.Errorf("%s --help: %v\n%s", name, err, out)
		}
		seen++
		if _, list, ok := strings.Cut(string(out), "Available Commands:\n"); ok {
			for line := range strings.Lines(list) {
				f := strings.Fields(line)
				if len(f) == 0 {
					break
				}
				visit(append(path[:len(path):len(path)], f[0])...)
			}
		}
	}
	visit()
	if seen < 20 {
		t.Errorf("only %d commands were found", seen)
	}
}

// TestInterrupted: a start that is interrupted ends, says so, and leaves a
// cluster that start resumes and delete removes.
func TestInterrupted(t *testing.T) {
	for i, after := range []time.Duration{10, 60, 120, 200, 300} {
		c := cluster.Reserve(t)
		cmd := c.Command(t.Context(), cluster.Program(t), "start", "--no-uplink", "--name", c.Name)
		var out bytes.Buffer
		cmd.Stderr = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond) // the moment is what varies
		_ = cmd.Process.Signal(os.Interrupt)
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			// Before it listens to signals, the signal ends it.
			status := exit.Sys().(syscall.WaitStatus)
			if !status.Signaled() && !strings.Contains(out.String(), "interrupted") || status.Signaled() && status.Signal() != syscall.SIGINT {
				t.Errorf("after %d ms: %v\n%s", after, err, &out)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			c.Resume()
			c.Kubectl("get", "nodes")
		}
		c.Clipper("delete", "--name", c.Name)
		for _, l := range leftover.Of(c.Name) {
			t.Errorf("interrupted after %d ms, deleted, and still there: %s", after, l)
		}
	}
}

// TestAtOnce: clusters that start at the same moment, with one kubeconfig, get
// networks, ports and contexts of their own; of two starts of one cluster the
// second, if it comes too soon, is told so.
func TestAtOnce(t *testing.T) {
	const clusters = 6
	var all [clusters]*cluster.Cluster
	for i := range all {
		all[i] = cluster.Reserve(t)
		all[i].Kubeconfig = all[0].Kubeconfig
	}
	var commands sync.WaitGroup
	together := func(do func(i int, c *cluster.Cluster)) {
		for i, c := range all {
			commands.Go(func() { do(i, c) })
		}
		commands.Wait()
	}
	for range 2 {
		together(func(i int, c *cluster.Cluster) {
			if _, err := c.Try("start", "--no-uplink", "--memory-store", "--nodes", strconv.Itoa(1+i%2), "--name", c.Name); err != nil {
				t.Error(err)
			}
		})
		together(func(i int, c *cluster.Cluster) {
			out, err := c.Try("kubectl", "--context", "clipper-"+c.Name, "get", "nodes", "-o", "name")
			if err != nil || strings.Count(out, "node/"+c.Name) != 1+i%2 {
				t.Errorf("%v\n%s", err, out)
			}
		})
		together(func(_ int, c *cluster.Cluster) {
			if _, err := c.Try("delete", "--name", c.Name); err != nil {
				t.Error(err)
			}
		})
		for _, c := range all {
			for _, l := range leftover.Of(c.Name) {
				t.Errorf("still there: %s", l)
			}
		}
	}
	// The same cluster: at least one succeeds.
	c, started := all[0], atomic.Int32{}
	together(func(int, *cluster.Cluster) {
		if _, err := c.Try("start", "--no-uplink", "--name", c.Name); err == nil {
			started.Add(1)
		} else if !strings.Contains(err.Error(), "another command is working on cluster") {
			t.Error(err)
		}
	})
	if started.Load() == 0 {
		t.Error("nobody started the cluster")
	}
}

// TestNoSpace: without space for a cluster, start says so, before and after.
func TestNoSpace(t *testing.T) {
	c := cluster.Reserve(t)
	run := func(script string) string {
		t.Helper()
		cmd := c.Command(t.Context(), "unshare", "--mount", "sh", "-euc", script)
		cmd.Env = append(cmd.Env, "CLIPPER="+cluster.Program(t), "CLUSTER="+c.Name)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return string(out)
	}
	// On a file system that only these processes see.
	out := run(`
		mkdir -p /var/lib/clipper
		mount -t tmpfs -o size=32m tmpfs /var/lib/clipper
		! $CLIPPER start --no-uplink --name $CLUSTER`)
	if !strings.Contains(out, "clipper: /var/lib/clipper has 32 MiB free and a cluster needs at least 64; free some space") {
		t.Error(out)
	}
	out = run(`
		mount -t tmpfs -o size=160m tmpfs /var/lib/clipper
		$CLIPPER start --no-uplink --name $CLUSTER
		$CLIPPER stop --name $CLUSTER
		! dd if=/dev/zero of=/var/lib/clipper/filler bs=64k status=none
		! $CLIPPER start --name $CLUSTER
		rm /var/lib/clipper/filler
		$CLIPPER start --name $CLUSTER
		$CLIPPER kubectl get --raw /readyz
		$CLIPPER delete --name $CLUSTER`)
	if !strings.Contains(out, "has 0 MiB free and a cluster needs at least 64; free some space") || !strings.Contains(out, "ok") {
		t.Error(out)
	}
}

// TestServer: a server in the foreground serves until SIGTERM, ends in order, and
// finds its state again.
func TestServer(t *testing.T) {
	dir := t.TempDir()
	node := fmt.Sprintf("test-%d", os.Getpid())
	t.Cleanup(func() { cgroup.Remove(t, "server/"+node) })
	for round := range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "unshare", "--net", "--mount", "sh", "-euc", `
			ip link set lo up
			ip link add up0 type bridge
			ip addr add 192.0.2.10/24 dev up0
			ip link set up0 up
			exec "$0" server --node-name "$1" --node-ip 192.0.2.10 --uplink=false --state-dir "$2/state" --run-dir "$2/run"`,
			cluster.Program(t), node, dir)
		log, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		for line := make([]byte, 4096); !strings.Contains(said.String(), "msg=ready"); {
			n, err := log.Read(line)
			said.Write(line[:n])
			if err != nil {
				t.Fatalf("the server ended: %v\n%s", cmd.Wait(), &said)
			}
		}
		rest := make(chan []byte)
		go func() {
			more, _ := io.ReadAll(log)
			rest <- more
		}()
		kubectl := func(args ...string) string {
			t.Helper()
			args = append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", cmd.Process.Pid), cluster.Program(t), "kubectl", "--kubeconfig", dir + "/state/admin.kubeconfig"}, args...)
			out, err := exec.CommandContext(ctx, "nsenter", args...).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			return string(out)
		}
		if out := kubectl("get", "nodes", "--no-headers"); !strings.Contains(out, node+"   Ready") {
			t.Error(out)
		}
		if round == 0 {
			kubectl("create", "configmap", "kept", "--from-literal=k=v")
		} else if out := kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.k}"); out != "v" {
			t.Error(out)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		said.Write(<-rest)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: %v\n%s", err, &said)
		}
		if left := cgroup.Folders("server/" + node); len(left) > 0 {
			t.Errorf("nothing ran, and still there: %v", left)
		}
	}
}
