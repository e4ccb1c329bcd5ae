package cri

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const insideEnv = "CRI_TEST_INSIDE"

// The tests run in PID, mount and network namespaces of their own, so that
// nothing of them is left whatever becomes of them; the cgroups, which have no
// such end, are removed from outside.
func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		os.Exit(inside(m))
	}
	os.Exit(outside())
}

func outside() int {
	dir, err := os.MkdirTemp("", "cri-test-")
	if err != nil {
		return complain(err)
	}
	defer os.RemoveAll(dir)
	for _, build := range []struct {
		out, pkg string
		env      string
		args     []string
	}{
		{"supervisor", "clipper/cmd/clipper-supervisor", "CGO_ENABLED=1", []string{"-tags", "seccomp netgo osusergo runc_nocriu", "-ldflags", "-s -w -linkmode external -extldflags -static"}},
		{"guest", "./testdata/guest", "CGO_ENABLED=0", []string{"-ldflags", "-s -w"}},
	} {
		cmd := exec.Command("go", append(append([]string{"build", "-o", filepath.Join(dir, build.out)}, build.args...), build.pkg)...)
		cmd.Env = append(os.Environ(), build.env)
		if out, err := cmd.CombinedOutput(); err != nil {
			return complain(fmt.Errorf("building %s: %w\n%s", build.pkg, err, out))
		}
	}
	cgroup := "/" + filepath.Base(dir)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = cmd.Run()
	if h, herr := lookAtHost(); herr == nil {
		for _, d := range h.cgroupDirs(cgroup) {
			if rerr := removeCgroupTree(d); rerr != nil {
				complain(rerr)
			}
		}
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	case err != nil:
		return complain(err)
	}
	return 0
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func inside(m *testing.M) int {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return complain(err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return complain(err)
	}
	return m.Run()
}

// bench is a runtime in directories of its own.
type bench struct {
	testing.TB
	*Runtime
	ctx    context.Context
	cfg    Config
	events chan *runtimeapi.ContainerEventResponse
	stop   func()
	image  string

	podCgroupMayStay bool
}

// wired is a Network that gives addresses and remembers whom.
type wired struct {
	mu   sync.Mutex
	pods map[string]Sandbox
}

func (w *wired) Setup(_ context.Context, s Sandbox) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !isNamespace(s.NetNS) {
		return nil, fmt.Errorf("%s is no namespace", s.NetNS)
	}
	w.pods[s.ID] = s
	return []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::3")}, nil
}

func (w *wired) Teardown(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pods, id)
	return nil
}

func newBench(t testing.TB) *bench {
	t.Helper()
	tools := os.Getenv(insideEnv)
	dir := t.TempDir()
	run, err := os.MkdirTemp(tools, "run-")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("run", run, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	cgroup := "/" + filepath.Base(tools) + "/" + strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
	b := &bench{TB: t, image: "docker.io/library/guest:latest", cfg: Config{
		StateDir:       dir,
		RunDir:         run,
		Network:        &wired{pods: map[string]Sandbox{}},
		CgroupParent:   cgroup,
		SupervisorPath: filepath.Join(tools, "supervisor"),
		ReadySandboxes: 1,
		Logger:         slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}}
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(func() {
		defer cancel()
		b.shutdown()
		if left := b.leftovers(); len(left) > 0 && !t.Failed() {
			t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		}
		unix.Unmount(run, unix.MNT_DETACH)
		os.Remove(run)
	})
	b.begin()
	if _, err := b.LoadImages(b.ctx, bytes.NewReader(guestArchive(t, filepath.Join(tools, "guest")))); err != nil {
		t.Fatal(err)
	}
	return b
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// begin opens the runtime and runs it.
func (b *bench) begin() {
	b.Helper()
	r, err := New(b.cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Runtime = r
	ctx, cancel := context.WithCancel(b.ctx)
	var wg sync.WaitGroup
	b.events = make(chan *runtimeapi.ContainerEventResponse, 1000)
	listening := make(chan struct{})
	wg.Go(func() {
		r.GetContainerEvents(ctx, b.events, func(runtimeapi.RuntimeService_GetContainerEventsClient) { close(listening) })
	})
	<-listening
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	b.stop = func() { cancel(); wg.Wait() }
	if err := r.Ready(b.ctx); err != nil {
		log, _ := os.ReadFile(r.runPath("supervisor.log"))
		b.Fatalf("%v\n%s", err, log)
	}
}

// restart ends this runtime as a crash would, and opens the next one.
func (b *bench) restart() {
	b.Helper()
	b.stop()
	b.begin()
}

// shutdown removes all pods, and ends the runtime and with it the supervisor,
// which holds nothing any more.
func (b *bench) shutdown() {
	pods, err := b.ListPodSandbox(b.ctx, nil)
	if err != nil {
		b.Error(err)
	}
	for _, p := range pods {
		if err := b.RemovePodSandbox(b.ctx, p.Id); err != nil {
			b.Error(err)
		}
	}
	if b.Failed() {
		if log, _ := os.ReadFile(b.runPath("supervisor.log")); len(log) > 0 {
			b.Logf("supervisor: %s", log)
		}
	}
	info, err := b.client.Info(b.ctx)
	if err != nil {
		b.Error(err)
	}
	b.stop()
	if _, err := b.client.Info(b.ctx); err == nil {
		b.Error("the supervisor runs on without containers")
		_ = killAndWait(b.ctx, info.PID)
	}
}

// leftovers are mounts, cgroups and files that no pod accounts for.
func (b *bench) leftovers() (left []string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if p := f[4]; strings.HasPrefix(p, b.cfg.StateDir) || strings.HasPrefix(p, b.cfg.RunDir+"/") {
			left = append(left, "mount "+p)
		}
	}
	for _, dir := range b.host.cgroupDirs(b.cfg.CgroupParent) {
		filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
			name := filepath.Base(p)
			if err == nil && e.IsDir() && p != dir && name != "supervisor" && name != "pods" && !(b.podCgroupMayStay && name == "poduid") {
				left = append(left, "cgroup "+p)
			}
			return nil
		})
	}
	for _, dir := range []string{
		filepath.Join(b.cfg.StateDir, "sandboxes"), filepath.Join(b.cfg.StateDir, "containers"),
		filepath.Join(b.cfg.RunDir, "sandboxes"), filepath.Join(b.cfg.RunDir, "containers"), filepath.Join(b.cfg.RunDir, "ready"),
		filepath.Join(b.cfg.RunDir, "supervisor", "state"), filepath.Join(b.cfg.RunDir, "supervisor", "exits"),
	} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			left = append(left, "file "+filepath.Join(dir, e.Name()))
		}
	}
	if n := len(b.cfg.Network.(*wired).pods); n > 0 {
		left = append(left, fmt.Sprintf("%d pods on the network", n))
	}
	return left
}

// pod makes a sandbox; change may alter its configuration.
func (b *bench) pod(change ...func(*runtimeapi.PodSandboxConfig)) (string, *runtimeapi.PodSandboxConfig) {
	b.Helper()
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "pod", Namespace: "default", Uid: "uid"},
		Hostname:     "pod",
		LogDirectory: filepath.Join(b.cfg.StateDir, "logs"),
		Labels:       map[string]string{"app": "test"},
		DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"10.0.0.10"}, Searches: []string{"svc.cluster.local"}, Options: []string{"ndots:5"}},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: b.cfg.CgroupParent + "/pods/poduid",
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
			},
		},
	}
	for _, f := range change {
		f(config)
	}
	id, err := b.RunPodSandbox(b.ctx, config, "")
	if err != nil {
		b.Fatal(err)
	}
	return id, config
}

// config is a container's that runs a verb of the guest.
func (b *bench) config(name string, args ...string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name},
		Image:    &runtimeapi.ImageSpec{Image: b.image},
		Args:     args,
		LogPath:  name + ".log",
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources: &runtimeapi.LinuxContainerResources{OomScoreAdj: 1000},
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
				Seccomp:          &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
				MaskedPaths:      []string{"/proc/kcore", "/proc/keys"},
				ReadonlyPaths:    []string{"/proc/sys"},
			},
		},
	}
}

// start makes and starts a container.
func (b *bench) start(pod string, config *runtimeapi.ContainerConfig) string {
	b.Helper()
	id, err := b.CreateContainer(b.ctx, pod, config, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := b.StartContainer(b.ctx, id); err != nil {
		b.Fatal(err)
	}
	return id
}

// run starts a container and returns how it ended and what it wrote.
func (b *bench) run(pod string, config *runtimeapi.ContainerConfig) (*runtimeapi.ContainerStatus, string) {
	b.Helper()
	id := b.start(pod, config)
	st := b.exit(id)
	return st, b.log(st)
}

// exit waits for a container's end.
func (b *bench) exit(id string) *runtimeapi.ContainerStatus {
	b.Helper()
	b.mu.Lock()
	c := b.containers[id]
	b.mu.Unlock()
	select {
	case <-c.exited:
	case <-b.ctx.Done():
		b.Fatalf("container %s does not end", id)
	}
	return b.status(id)
}

func (b *bench) status(id string) *runtimeapi.ContainerStatus {
	b.Helper()
	resp, err := b.ContainerStatus(b.ctx, id, false)
	if err != nil {
		b.Fatal(err)
	}
	return resp.Status
}

// log is what a container wrote, without times: "stdout hello".
func (b *bench) log(st *runtimeapi.ContainerStatus) string {
	b.Helper()
	raw, err := os.ReadFile(st.LogPath)
	if err != nil {
		b.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(raw)) {
		at, rest, _ := strings.Cut(line, " ")
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
			b.Errorf("log line %q: %v", line, err)
		}
		stream, rest, _ := strings.Cut(rest, " ")
		tag, text, _ := strings.Cut(rest, " ")
		if tag == "P" {
			text = strings.TrimSuffix(text, "\n")
		}
		if stream == "stderr" {
			text = "stderr: " + text
		}
		out.WriteString(text)
	}
	return out.String()
}

// wrote waits until a container's log has a text.
func (b *bench) wrote(id, text string) {
	b.Helper()
	path := b.status(id).LogPath
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		b.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer f.Close()
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE); err != nil {
		b.Fatal(err)
	}
	deadline, _ := b.ctx.Deadline()
	f.SetReadDeadline(deadline)
	for {
		raw, _ := os.ReadFile(path)
		if strings.Contains(string(raw), text) {
			return
		}
		if _, err := f.Read(make([]byte, 4096)); err != nil {
			b.Fatalf("the log has %q, not %q: %v", raw, text, err)
		}
	}
}

// guestArchive is a docker-archive of an image that holds the guest.
func guestArchive(t testing.TB, program string) []byte {
	t.Helper()
	guest, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	layer := tarOf(t,
		entry{name: "guest", mode: 0o755, data: string(guest)},
		entry{name: "tmp/", mode: 0o1777},
		entry{name: "etc/", mode: 0o755},
		entry{name: "etc/passwd", mode: 0o644, data: "root:x:0:0::/:\nalice:x:1000:1001::/home/alice:\n"},
		entry{name: "etc/group", mode: 0o644, data: "root:x:0:\nalice:x:1001:\nstaff:x:50:bob,alice\n"},
		entry{name: "data/", mode: 0o750, uid: 1000, gid: 1001},
		entry{name: "data/kept", mode: 0o640, uid: 1000, gid: 1001, data: "from the image"},
	)
	sum := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{
			"Entrypoint": []string{"/guest"}, "Cmd": []string{"echo", "hello", "there"},
			"Env": []string{"PATH=/bin", "COLOR=blue"}, "WorkingDir": "/tmp",
			"Volumes": map[string]any{"/data": map[string]any{}}, "StopSignal": "SIGTERM",
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tarOf(t,
		entry{name: "layer.tar", mode: 0o644, data: string(layer)},
		entry{name: "config.json", mode: 0o644, data: string(config)},
		entry{name: "manifest.json", mode: 0o644, data: `[{"Config":"config.json","RepoTags":["guest:latest"],"Layers":["layer.tar"]}]`},
	)
}

type entry struct {
	name     string
	mode     int64
	uid, gid int
	data     string
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Uid: e.uid, Gid: e.gid, Size: int64(len(e.data)), Typeflag: tar.TypeReg, ModTime: time.Unix(1, 0)}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// ids are the namespaces of the test itself.
func (b *bench) ids(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(os.Getenv(insideEnv), "guest"), "ids").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
