package cri

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	remotecommand "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

func TestContainerRunsToItsEnd(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	for _, tc := range []struct {
		name         string
		args         []string
		code         int32
		reason, logs string
	}{
		{"image's own arguments", nil, 0, reasonCompleted, "hello\nstderr: there\n"},
		{"exit code", []string{"exit", "7"}, 7, reasonError, ""},
		{"unfinished line", []string{"raw", "a\nb"}, 0, reasonCompleted, "a\nb"},
		{"long line", []string{"raw", strings.Repeat("x", 40000) + "\n"}, 0, reasonCompleted, strings.Repeat("x", 40000) + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st, logs := b.run(pod, b.config(strings.ReplaceAll(tc.name, " ", "-"), tc.args...))
			// Streams come through pipes of their own; order holds within each.
			if strings.HasPrefix(logs, "stderr") {
				first, rest, _ := strings.Cut(logs, "\n")
				logs = rest + first + "\n"
			}
			if st.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.ExitCode != tc.code || st.Reason != tc.reason || logs != tc.logs {
				t.Errorf("ended %v code %d reason %q, log %q", st.State, st.ExitCode, st.Reason, logs)
			}
			if st.CreatedAt == 0 || st.StartedAt < st.CreatedAt || st.FinishedAt < st.StartedAt {
				t.Errorf("times %d %d %d", st.CreatedAt, st.StartedAt, st.FinishedAt)
			}
		})
	}
}

func TestEventsTellEachChangeOnceAndInOrder(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	id := b.start(pod, b.config("c", "exit", "3"))
	b.exit(id)
	if err := b.RemoveContainer(b.ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.StopPodSandbox(b.ctx, pod); err != nil {
		t.Fatal(err)
	}
	if err := b.RemovePodSandbox(b.ctx, pod); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		id   string
		kind string
	}
	var got []seen
	for range 8 {
		select {
		case ev := <-b.events:
			got = append(got, seen{ev.ContainerId, strings.TrimSuffix(strings.TrimPrefix(ev.ContainerEventType.String(), "CONTAINER_"), "_EVENT")})
			if ev.ContainerId == id && ev.ContainerEventType == runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT {
				if len(ev.ContainersStatuses) != 1 || ev.ContainersStatuses[0].ExitCode != 3 || ev.PodSandboxStatus.Id != pod {
					t.Errorf("the event of the end has %v", ev)
				}
			}
		case <-b.ctx.Done():
			t.Fatalf("only %v", got)
		}
	}
	want := []seen{{pod, "CREATED"}, {pod, "STARTED"}, {id, "CREATED"}, {id, "STARTED"}, {id, "STOPPED"}, {id, "DELETED"}, {pod, "STOPPED"}, {pod, "DELETED"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Error(diff)
	}
}

func TestProcessIsAsConfigured(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	id := func(v int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: v} }
	t.Run("user of the image and working folder", func(t *testing.T) {
		_, logs := b.run(pod, b.config("a", "who"))
		if logs != "0 0 [0] pod /tmp 1\n" {
			t.Error(logs)
		}
	})
	t.Run("user by number takes the image's groups", func(t *testing.T) {
		c := b.config("b", "who")
		c.WorkingDir = "/made/here"
		c.Linux.SecurityContext.RunAsUser = id(1000)
		c.Linux.SecurityContext.SupplementalGroups = []int64{7}
		st, logs := b.run(pod, c)
		if logs != "1000 1001 [7 50 1001] pod /made/here 1\n" {
			t.Error(logs)
		}
		if diff := cmp.Diff([]int64{7, 50, 1001}, st.User.Linux.SupplementalGroups); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("strict groups", func(t *testing.T) {
		c := b.config("c", "who")
		c.Linux.SecurityContext.RunAsUsername = "alice"
		c.Linux.SecurityContext.RunAsGroup = id(9)
		c.Linux.SecurityContext.SupplementalGroupsPolicy = runtimeapi.SupplementalGroupsPolicy_Strict
		if _, logs := b.run(pod, c); logs != "1000 9 [9] pod /tmp 1\n" {
			t.Error(logs)
		}
	})
	t.Run("unknown user", func(t *testing.T) {
		c := b.config("d", "who")
		c.Linux.SecurityContext.RunAsUsername = "nobody"
		_, err := b.CreateContainer(b.ctx, pod, c, nil)
		if err == nil || !strings.Contains(err.Error(), "unable to find user nobody: no matching entries in passwd file") {
			t.Error(err)
		}
	})
	t.Run("environment", func(t *testing.T) {
		c := b.config("e", "env")
		c.Envs = []*runtimeapi.KeyValue{{Key: "COLOR", Value: []byte("red")}, {Key: "EMPTY"}}
		if _, logs := b.run(pod, c); logs != "PATH=/bin\nHOSTNAME=pod\nCOLOR=red\nEMPTY=\nHOME=/\n" {
			t.Error(logs)
		}
	})
	t.Run("files of the pod", func(t *testing.T) {
		_, logs := b.run(pod, b.config("f", "read", "/etc/hostname", "/etc/resolv.conf"))
		if logs != "pod\nsearch svc.cluster.local\nnameserver 10.0.0.10\noptions ndots:5\n" {
			t.Error(logs)
		}
	})
}

func TestSecurity(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	for _, tc := range []struct {
		name   string
		args   []string
		change func(*runtimeapi.LinuxContainerSecurityContext)
		want   string
	}{
		{"mount is refused", []string{"try", "mount"}, nil, "operation not permitted"},
		{"namespaces are refused", []string{"try", "unshare"}, nil, "operation not permitted"},
		{"keys are refused", []string{"try", "keyctl"}, nil, "operation not permitted"},
		{"bpf is refused", []string{"try", "bpf"}, nil, "operation not permitted"},
		{"clone3 is unknown", []string{"try", "clone3"}, nil, "function not implemented"},
		{"vsock is refused", []string{"try", "vsock"}, nil, "operation not permitted"},
		{"later calls are unknown", []string{"try", "future"}, nil, "function not implemented"},
		{"chroot is allowed", []string{"try", "chroot"}, nil, "<nil>"},
		{"mknod is allowed", []string{"try", "mknod"}, nil, "<nil>"},
		{"disks cannot be opened", []string{"try", "disk"}, nil, "operation not permitted"},
		{"filter is on", []string{"status", "Seccomp"}, nil, "2"},
		{"filter is off", []string{"status", "Seccomp"}, func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.Seccomp = nil }, "0"},
		{"default capabilities", []string{"status", "CapEff"}, nil, "00000000a80425fb"},
		{"no capabilities", []string{"status", "CapBnd"}, func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}}
		}, "0000000000000000"},
		{"one capability", []string{"status", "CapEff"}, func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"NET_BIND_SERVICE"}}
		}, "0000000000000400"},
		{"a user has none", []string{"status", "CapEff"}, func(sc *runtimeapi.LinuxContainerSecurityContext) {
			sc.RunAsUser = &runtimeapi.Int64Value{Value: 1000}
		}, "0000000000000000"},
		{"privileges may be gained", []string{"status", "NoNewPrivs"}, nil, "0"},
		{"no new privileges", []string{"status", "NoNewPrivs"}, func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.NoNewPrivs = true }, "1"},
		{"masked", []string{"read", "/proc/keys"}, nil, ""},
		{"read-only root", []string{"write", "/x", "y"}, func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.ReadonlyRootfs = true }, "stderr: open /x: read-only file system"},
		{"volume under a read-only root", []string{"write", "/data/x", "y"}, func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.ReadonlyRootfs = true }, ""},
		{"privileged mounts", []string{"try", "mount"}, func(sc *runtimeapi.LinuxContainerSecurityContext) { sc.Privileged = true }, "<nil>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := b.config("c", tc.args...)
			c.LogPath = strings.ReplaceAll(tc.name, " ", "-")
			if tc.change != nil {
				tc.change(c.Linux.SecurityContext)
			}
			if _, logs := b.run(pod, c); strings.TrimSpace(logs) != tc.want {
				t.Errorf("got %q, want %q", strings.TrimSpace(logs), tc.want)
			}
		})
	}
}

func TestMounts(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("from the node"), 0o644); err != nil {
		t.Fatal(err)
	}
	mount := func(ro bool) func(*runtimeapi.ContainerConfig) {
		return func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{ContainerPath: "/mnt", HostPath: host, Readonly: ro}}
		}
	}
	for _, tc := range []struct {
		name   string
		args   []string
		change func(*runtimeapi.ContainerConfig)
		want   string
	}{
		{"bind", []string{"read", "/mnt/file"}, mount(true), "from the node"},
		{"read-only", []string{"write", "/mnt/new", "x"}, mount(true), "stderr: open /mnt/new: read-only file system"},
		{"writable", []string{"write", "/mnt/new", "x"}, mount(false), ""},
		{"over a file of the pod", []string{"read", "/etc/hostname"}, func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{ContainerPath: "/etc/hostname", HostPath: filepath.Join(host, "file")}}
		}, "from the node"},
		{"image volume has the image's files", []string{"read", "/data/kept"}, nil, "from the image"},
		{"an image as a volume", []string{"ls", "/other/etc"}, func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{ContainerPath: "/other", Image: &runtimeapi.ImageSpec{Image: b.image}, Readonly: true}}
		}, "group\npasswd"},
		{"part of an image", []string{"read", "/other/kept"}, func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{ContainerPath: "/other", Image: &runtimeapi.ImageSpec{Image: b.image}, ImageSubPath: "data", Readonly: true}}
		}, "from the image"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := b.config("c", tc.args...)
			c.LogPath = strings.ReplaceAll(tc.name, " ", "-")
			if tc.change != nil {
				tc.change(c)
			}
			if _, logs := b.run(pod, c); strings.TrimSpace(logs) != tc.want {
				t.Errorf("got %q, want %q", strings.TrimSpace(logs), tc.want)
			}
		})
	}
	if raw, _ := os.ReadFile(filepath.Join(host, "new")); string(raw) != "x" {
		t.Errorf("the node's file has %q", raw)
	}
}

func TestStartOfWhatIsNotThere(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	c := b.config("c")
	c.Command = []string{"nosuch"}
	id, err := b.CreateContainer(b.ctx, pod, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = b.StartContainer(b.ctx, id)
	const want = `exec: "nosuch": executable file not found in $PATH`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("start: %v", err)
	}
	st := b.status(id)
	if st.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.ExitCode != 128 || st.Reason != reasonStartError || !strings.Contains(st.Message, want) {
		t.Errorf("status %v", st)
	}
	if _, err := b.CreateContainer(b.ctx, "nosuch", c, nil); status.Code(err) != codes.NotFound {
		t.Errorf("in no sandbox: %v", err)
	}
	c.Image.Image = "nosuch:1"
	if _, err := b.CreateContainer(b.ctx, pod, c, nil); status.Code(err) != codes.NotFound {
		t.Errorf("of no image: %v", err)
	}
}

func TestStop(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	t.Run("by its signal", func(t *testing.T) {
		id := b.start(pod, b.config("a", "wait"))
		b.wrote(id, "waiting")
		if err := b.StopContainer(b.ctx, id, 30); err != nil {
			t.Fatal(err)
		}
		st := b.status(id)
		if logs := b.log(st); st.ExitCode != 0 || logs != "waiting\ngot terminated\n" {
			t.Errorf("code %d, log %q", st.ExitCode, logs)
		}
	})
	t.Run("by a signal of its own", func(t *testing.T) {
		c := b.config("b", "wait")
		c.StopSignal = runtimeapi.Signal_SIGUSR1
		id := b.start(pod, c)
		b.wrote(id, "waiting")
		if err := b.StopContainer(b.ctx, id, 30); err != nil {
			t.Fatal(err)
		}
		if logs := b.log(b.status(id)); logs != "waiting\ngot user defined signal 1\n" {
			t.Error(logs)
		}
	})
	t.Run("by force", func(t *testing.T) {
		id := b.start(pod, b.config("c", "stubborn"))
		b.wrote(id, "waiting")
		if err := b.StopContainer(b.ctx, id, 1); err != nil {
			t.Fatal(err)
		}
		if st := b.status(id); st.ExitCode != 137 || st.Reason != reasonError {
			t.Errorf("code %d, reason %s", st.ExitCode, st.Reason)
		}
		if err := b.StopContainer(b.ctx, id, 1); err != nil {
			t.Errorf("again: %v", err)
		}
	})
	t.Run("before it starts", func(t *testing.T) {
		id, err := b.CreateContainer(b.ctx, pod, b.config("d", "wait"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.StopContainer(b.ctx, id, 1); err != nil {
			t.Fatal(err)
		}
		if st := b.status(id); st.State != runtimeapi.ContainerState_CONTAINER_EXITED {
			t.Error(st.State)
		}
	})
	if err := b.StopContainer(b.ctx, "nosuch", 1); err != nil {
		t.Errorf("what is not there: %v", err)
	}
}

func TestMemoryLimit(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	c := b.config("c", "eat", "200")
	c.Linux.Resources.MemoryLimitInBytes = 64 << 20
	st, _ := b.run(pod, c)
	if st.ExitCode != 137 || st.Reason != reasonOOMKilled {
		t.Errorf("code %d, reason %s", st.ExitCode, st.Reason)
	}
}

func TestLimitsAndTheirChange(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	c := b.config("c", "wait")
	c.Linux.Resources.MemoryLimitInBytes = 64 << 20
	c.Linux.Resources.CpuPeriod, c.Linux.Resources.CpuQuota, c.Linux.Resources.CpuShares = 100000, 50000, 512
	id := b.start(pod, c)
	look := func() (memory, quota uint64) {
		t.Helper()
		cgroup := b.cgroupOf(b.containers[id])
		if b.host.unified {
			memory, _ = number64(b.host.cgroupDir("", cgroup) + "/memory.max")
			return memory, keyed(b.host.cgroupDir("", cgroup) + "/cpu.max")["50000"]
		}
		memory, _ = number64(b.host.cgroupDir("memory", cgroup) + "/memory.limit_in_bytes")
		quota, _ = number64(b.host.cgroupDir("cpu", cgroup) + "/cpu.cfs_quota_us")
		return memory, quota
	}
	if m, q := look(); m != 64<<20 || q != 50000 {
		t.Errorf("memory %d, quota %d", m, q)
	}
	err := b.UpdateContainerResources(b.ctx, id, &runtimeapi.ContainerResources{Linux: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 96 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	if m, q := look(); m != 96<<20 || q != 50000 {
		t.Errorf("after the change: memory %d, quota %d", m, q)
	}
	if res := b.status(id).Resources.Linux; res.MemoryLimitInBytes != 96<<20 || res.CpuShares != 512 {
		t.Errorf("told %v", res)
	}
	b.restart()
	if res := b.status(id).Resources.Linux; res.MemoryLimitInBytes != 96<<20 || res.CpuShares != 512 {
		t.Errorf("told after a restart: %v", res)
	}
	// A change must leave the container usable.
	if _, _, err := b.ExecSync(b.ctx, id, []string{"/guest", "exit", "0"}, 0); err != nil {
		t.Error(err)
	}
	stats, err := b.ContainerStats(b.ctx, id)
	if err != nil || stats.Memory.GetWorkingSetBytes().GetValue() == 0 || stats.Cpu.GetUsageCoreNanoSeconds().GetValue() == 0 {
		t.Errorf("stats %v, %v", stats, err)
	}
	pods, err := b.ListPodSandboxStats(b.ctx, nil)
	if err != nil || len(pods) != 1 || len(pods[0].Linux.Containers) != 1 || pods[0].Linux.Process.ProcessCount.Value == 0 {
		t.Errorf("pods' stats %v, %v", pods, err)
	}
}

// What the machine does not allow is clamped, never refused.
func TestOOMScore(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	c := b.config("high", "read", "/proc/self/oom_score_adj")
	if _, logs := b.run(pod, c); logs != "1000\n" {
		t.Errorf("got %q", logs)
	}
	c = b.config("low", "read", "/proc/self/oom_score_adj")
	c.Linux.Resources.OomScoreAdj = -997
	st, logs := b.run(pod, c)
	if n, err := strconv.Atoi(strings.TrimSpace(logs)); st.ExitCode != 0 || err != nil || n < -997 || n > 0 {
		t.Errorf("code %d, %q", st.ExitCode, logs)
	}
}

func TestExecSync(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	c := b.config("c", "sleep")
	c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: 1000}
	id := b.start(pod, c)
	out, errOut, err := b.ExecSync(b.ctx, id, []string{"/guest", "echo", "out", "err"}, 0)
	if string(out) != "out\n" || string(errOut) != "err\n" || err != nil {
		t.Errorf("%q %q %v", out, errOut, err)
	}
	out, _, err = b.ExecSync(b.ctx, id, []string{"/guest", "who"}, 0)
	if f := strings.Fields(string(out)); err != nil || strings.Join(f[:len(f)-1], " ") != "1000 1001 [50 1001] pod /tmp" {
		t.Errorf("%q %v", out, err)
	}
	_, _, err = b.ExecSync(b.ctx, id, []string{"/guest", "exit", "4"}, time.Minute)
	var exit utilexec.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 4 {
		t.Errorf("exit code: %v", err)
	}
	_, _, err = b.ExecSync(b.ctx, id, []string{"/guest", "sleep"}, 300*time.Millisecond)
	if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "timeout 300ms exceeded: context deadline exceeded") {
		t.Errorf("timeout: %v", err)
	}
	if _, _, err = b.ExecSync(b.ctx, id, []string{"nosuch"}, 0); err == nil || !strings.Contains(err.Error(), "executable file not found in $PATH") {
		t.Errorf("no such command: %v", err)
	}
	// A child that keeps the streams open is not waited for.
	if out, _, err = b.ExecSync(b.ctx, id, []string{"/guest", "children"}, 0); string(out) != "started\n" || err != nil {
		t.Errorf("%q %v", out, err)
	}
	if _, _, err = b.ExecSync(b.ctx, "nosuch", []string{"x"}, 0); status.Code(err) != codes.NotFound {
		t.Errorf("no such container: %v", err)
	}
}

// buffer is a WriteCloser that tells when it has a text.
type buffer struct {
	*io.PipeWriter
	r    *io.PipeReader
	seen bytes.Buffer
}

func newBuffer() *buffer {
	r, w := io.Pipe()
	return &buffer{PipeWriter: w, r: r}
}

// until reads until a text has come.
func (p *buffer) until(t *testing.T, text string) {
	t.Helper()
	buf := make([]byte, 4096)
	for !strings.Contains(p.seen.String(), text) {
		n, err := p.r.Read(buf)
		p.seen.Write(buf[:n])
		if err != nil {
			t.Fatalf("got %q, not %q: %v", p.seen.String(), text, err)
		}
	}
}

func TestExecWithStreams(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	id := b.start(pod, b.config("c", "sleep"))
	t.Run("input", func(t *testing.T) {
		in, inW := io.Pipe()
		out := newBuffer()
		done := make(chan error, 1)
		go func() {
			done <- b.StreamingRuntime().Exec(b.ctx, id, []string{"/guest", "cat"}, in, out, nil, false, nil)
		}()
		io.WriteString(inW, "some words\n")
		out.until(t, "some words\n")
		inW.Close()
		out.until(t, "end of input\n")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		out := newBuffer()
		sizes := make(chan remotecommand.TerminalSize, 1)
		in, inW := io.Pipe()
		defer inW.Close()
		done := make(chan error, 1)
		go func() {
			done <- b.StreamingRuntime().Exec(b.ctx, id, []string{"/guest", "counts"}, in, out, nil, true, sizes)
		}()
		sizes <- remotecommand.TerminalSize{Width: 91, Height: 17}
		io.WriteString(inW, "line\n")
		out.until(t, "0 line\r\n")
		io.WriteString(inW, "\x04") // end of input
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("gone client", func(t *testing.T) {
		ctx, cancel := context.WithCancel(b.ctx)
		out := newBuffer()
		done := make(chan error, 1)
		go func() {
			done <- b.StreamingRuntime().Exec(ctx, id, []string{"/guest", "wait"}, nil, out, nil, false, nil)
		}()
		out.until(t, "waiting")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestAttach(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	t.Run("once", func(t *testing.T) {
		c := b.config("a", "cat")
		c.Stdin, c.StdinOnce = true, true
		id := b.start(pod, c)
		in, inW := io.Pipe()
		out := newBuffer()
		done := make(chan error, 1)
		go func() { done <- b.StreamingRuntime().Attach(b.ctx, id, in, out, nil, false, nil) }()
		io.WriteString(inW, "words\n")
		out.until(t, "words\n")
		inW.Close()
		out.until(t, "end of input\n")
		if err := <-done; err != nil {
			t.Error(err)
		}
		if st := b.exit(id); st.ExitCode != 0 || b.log(st) != "words\nend of input\n" {
			t.Errorf("code %d, log %q", st.ExitCode, b.log(st))
		}
	})
	t.Run("again and again", func(t *testing.T) {
		c := b.config("b", "counts")
		c.Stdin = true
		id := b.start(pod, c)
		for _, want := range []string{"0 x\n", "1 x\n", "2 x\n"} {
			ctx, cancel := context.WithCancel(b.ctx)
			in, inW := io.Pipe()
			out := newBuffer()
			done := make(chan error, 1)
			go func() { done <- b.StreamingRuntime().Attach(ctx, id, in, out, nil, false, nil) }()
			io.WriteString(inW, "x\n")
			out.until(t, want)
			cancel()
			out.r.Close()
			inW.Close()
			<-done
		}
	})
	t.Run("input that ends leaves the container running", func(t *testing.T) {
		c := b.config("d", "counts")
		c.Stdin = true
		id := b.start(pod, c)
		for _, n := range []string{"0", "1"} {
			out := newBuffer()
			go io.Copy(io.Discard, out.r) // what comes before the attach ends
			if err := b.StreamingRuntime().Attach(b.ctx, id, strings.NewReader("x\n"), out, nil, false, nil); err != nil {
				t.Error(err)
			}
			out.Close()
			b.wrote(id, n+" x")
		}
	})
	t.Run("terminal", func(t *testing.T) {
		c := b.config("c", "counts")
		c.Stdin, c.Tty = true, true
		id := b.start(pod, c)
		in, inW := io.Pipe()
		out := newBuffer()
		sizes := make(chan remotecommand.TerminalSize, 1)
		sizes <- remotecommand.TerminalSize{Width: 100, Height: 30}
		done := make(chan error, 1)
		go func() { done <- b.StreamingRuntime().Attach(b.ctx, id, in, out, nil, true, sizes) }()
		io.WriteString(inW, "x\n")
		out.until(t, "0 x\r\n")
		if err := b.StopContainer(b.ctx, id, 0); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestPortForward(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	id := b.start(pod, b.config("c", "listen", "8080"))
	b.wrote(id, "listening")
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- b.StreamingRuntime().PortForward(b.ctx, pod, 8080, theirs) }()
	io.WriteString(ours, "ping")
	buf := make([]byte, 4)
	if _, err := io.ReadFull(ours, buf); err != nil || string(buf) != "ping" {
		t.Errorf("%q %v", buf, err)
	}
	ours.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_, theirs = net.Pipe()
	if err := b.StreamingRuntime().PortForward(b.ctx, pod, 8081, theirs); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestLogReopens(t *testing.T) {
	b := newBench(t)
	pod, _ := b.pod()
	c := b.config("c", "counts")
	c.Stdin = true
	id := b.start(pod, c)
	path := b.status(id).LogPath
	say := func(text, want string) {
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		in, inW := io.Pipe()
		go b.StreamingRuntime().Attach(ctx, id, in, nil, nil, false, nil)
		io.WriteString(inW, text)
		b.wrote(id, want)
	}
	say("before\n", "0 before")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := b.ReopenContainerLog(b.ctx, id); err != nil {
		t.Fatal(err)
	}
	say("after\n", "1 after")
	if raw, _ := os.ReadFile(path); strings.Contains(string(raw), "before") {
		t.Errorf("the new log has %q", raw)
	}
}

func TestOrphansInTheNodesPIDNamespace(t *testing.T) {
	b := newBench(t)
	host := func(o *runtimeapi.NamespaceOption) { o.Pid = runtimeapi.NamespaceMode_NODE }
	pod, _ := b.pod(func(c *runtimeapi.PodSandboxConfig) { host(c.Linux.SecurityContext.NamespaceOptions) })
	c := b.config("c", "children")
	host(c.Linux.SecurityContext.NamespaceOptions)
	st, logs := b.run(pod, c)
	if st.ExitCode != 0 || logs != "started\n" {
		t.Errorf("code %d, log %q", st.ExitCode, logs)
	}
	// The child that was left is gone with its container.
	pids, err := cgroupPIDs(b.host.cgroupDir("devices", b.cgroupOf(b.containers[st.Id])))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		// It may be dying still; then its descriptor tells the end.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		unix.Close(fd)
		if n != 1 {
			t.Errorf("process %d runs on (%v)", pid, err)
		}
	}
}
