package local

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestReadMounts(t *testing.T) {
	const (
		root     = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
		unified  = "30 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
		memory   = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
		cpu      = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime master:3 propagate_from:2 - cgroup cgroup rw,cpu,cpuacct\n"
		systemd  = "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
		aside    = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
		netCls   = "50 24 0:40 / /run/vpn/net_cls rw,relatime - cgroup net_cls rw,net_cls\n"
		nonsense = "not a mount\n1 2 3\n - - -\n5 6 7 8 9 - cgroup\n"
	)
	for _, c := range []struct{ name, mounts, want string }{
		{"v2", root + unified, "v2 /sys/fs/cgroup"},
		{"v1", root + systemd + memory + cpu + memory, "v1 /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/memory /sys/fs/cgroup/systemd"},
		{"v1 with v2 beside it", memory + aside, "v1 /sys/fs/cgroup/memory beside /sys/fs/cgroup/unified"},
		{"v2 with another program's v1", unified + netCls, "v2 /sys/fs/cgroup"},
		{"nonsense is passed over", nonsense + unified, "v2 /sys/fs/cgroup"},
		{"none", root, "no cgroup hierarchy is mounted"},
		{"nothing", "", "no cgroup hierarchy is mounted"},
		{"endless line", strings.Repeat("x", 1<<20), "too long"},
	} {
		cg, err := readMounts(strings.NewReader(c.mounts))
		got := fmt.Sprint(err)
		if err == nil {
			got = "v1 " + strings.Join(cg.v1, " ")
			if cg.beside != "" {
				got += " beside " + cg.beside
			}
			if cg.unified != "" {
				got = "v2 " + cg.unified
			}
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// program starts a stand-in for a node's process in the cluster's first node and
// returns what it says of itself.
func program(t *testing.T, c *Cluster, cg *cgroups, join int) (*exec.Cmd, []string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{playNode + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	hold, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end.Close() })
	cmd.Stdin = hold
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	node := c.Nodes[0]
	if err := c.spawn(cmd, cg, node, join, func(netns *os.File) error { return c.attach(node, netns) }); err != nil {
		t.Fatal(err)
	}
	hold.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var lines []string
	for s := bufio.NewScanner(out); len(lines) < 2+len(nodeNamespaces) && s.Scan(); {
		lines = append(lines, s.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd, lines
}

// TestSpawn: a node's first process has namespaces of its own, the next ones
// join them, all are born in the node's cgroup, and all end by it.
func TestSpawn(t *testing.T) {
	cg := realCgroups(t)
	c := testCluster(t)
	cgroup := c.nodeCgroup(c.Nodes[0])
	t.Cleanup(func() {
		if err := cg.kill(c.cgroup()); err != nil {
			t.Error(err)
		}
		if err := cg.remove(c.cgroup()); err != nil {
			t.Error(err)
		}
		cg.trim()
	})
	for _, part := range []string{serverCgroup, supervisorCgroup} {
		if err := cg.make(cgroup + "/" + part); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.raiseBridge(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.dropBridge() })

	first, says := program(t, c, cg, 0)
	if len(says) != 2+len(nodeNamespaces) || says[0] != c.Nodes[0] {
		t.Fatalf("the node says %q", says)
	}
	for i, ns := range nodeNamespaces {
		if mine, _ := os.Readlink("/proc/self/ns/" + ns.file); says[1+i] == mine || mine == "" {
			t.Errorf("the node shares the machine's namespace %s", mine)
		}
	}
	if all := says[len(says)-1]; !strings.Contains(all, "/"+cgroup+"/"+serverCgroup) {
		t.Errorf("the node is in the cgroups %s", all)
	}
	second, also := program(t, c, cg, first.Process.Pid)
	if !slices.Equal(says, also) {
		t.Errorf("the first process says %q and the one that joined it %q", says, also)
	}
	if running, err := c.Processes(); err != nil || !running[c.Nodes[0]] {
		t.Errorf("%v, %v", running, err)
	}

	pids := []int{first.Process.Pid, second.Process.Pid}
	slices.Sort(pids)
	if got := cg.pids(c.cgroup()); !slices.Equal(got, pids) {
		t.Errorf("the cgroup holds %v, want %v", got, pids)
	}
	if err := cg.kill(c.cgroup()); err != nil {
		t.Error(err)
	}
	for _, cmd := range []*exec.Cmd{first, second} {
		_ = cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Errorf("the process ended with %v", cmd.ProcessState)
		}
	}
	if running, err := c.Processes(); err != nil || running[c.Nodes[0]] {
		t.Errorf("%v, %v", running, err)
	}
}

// TestKillFamily: processes that heed no signal, have children, and sit in
// cgroups within cgroups, all end.
func TestKillFamily(t *testing.T) {
	cg := realCgroups(t)
	c := testCluster(t)
	path := c.cgroup() + "/family"
	t.Cleanup(func() {
		if err := cg.kill(path); err != nil {
			t.Error(err)
		}
		if err := cg.remove(c.cgroup()); err != nil {
			t.Error(err)
		}
		cg.trim()
	})
	deep := path + "/a/b/c"
	if err := cg.make(deep); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{path, deep} {
		// A shell that ignores what can be ignored, and its two children.
		cmd := exec.Command("/bin/sh", "-c", `trap "" TERM INT HUP; for root; do echo 0 > $root/cgroup.procs; done; sleep 1000 & sleep 1000 & echo there; wait`, "sh")
		for _, root := range cg.roots() {
			cmd.Args = append(cmd.Args, filepath.Join(root, at))
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if s := bufio.NewScanner(out); !s.Scan() || s.Text() != "there" {
			t.Fatal(s.Text(), s.Err())
		}
		go func() { _ = cmd.Wait() }()
	}
	if n := len(cg.pids(path)); n != 6 {
		t.Errorf("%d processes, want 6", n)
	}
	if err := cg.remove(path); err == nil {
		t.Error("a cgroup with processes was removed")
	}
	if err := cg.kill(path); err != nil {
		t.Error(err)
	}
	if left := cg.pids(path); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	// What a runtime made beside goes too.
	if cg.beside != "" {
		if err := os.MkdirAll(filepath.Join(cg.beside, deep), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // removing what is gone is no error
		if err := cg.remove(path); err != nil {
			t.Error(err)
		}
	}
	for _, root := range cg.everywhere() {
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			t.Errorf("%s is still there", filepath.Join(root, path))
		}
	}
}

// TestMakeWhileTrimmed: another cluster's end takes the shared parent away
// whenever it is empty.
func TestMakeWhileTrimmed(t *testing.T) {
	cg := &cgroups{v1: []string{t.TempDir()}}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				cg.trim()
			}
		}
	}()
	for i := range 500 {
		path := fmt.Sprintf("%s/c%d", parent, i)
		if err := cg.make(path + "/node"); err != nil {
			t.Error(err)
		}
		if err := cg.remove(path); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}

func TestEnded(t *testing.T) {
	if ended(os.Getpid()) {
		t.Error("this process has ended")
	}
	cmd := exec.Command("/bin/true")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if !ended(cmd.Process.Pid) {
		t.Error("a process that was waited for still runs")
	}
}

// TestEndedThread is none of a process: what it holds it holds on.
func TestEndedThread(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{playHeadless + "=1"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "headless\n" {
		t.Fatal(line, err)
	}
	if ended(cmd.Process.Pid) {
		t.Error("a process has ended with its first thread")
	}
	in.Close()
	if err := cmd.Wait(); err == nil && !ended(cmd.Process.Pid) {
		t.Error("a process that was waited for still runs")
	}
}
