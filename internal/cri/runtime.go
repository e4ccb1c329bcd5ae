package cri

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/embedded"
	"clipper/internal/cri/supervisor"
)

// A supervisor that ends is started again at once, then ever more slowly if it
// keeps ending.
const (
	restartFirst = 100 * time.Millisecond
	restartMost  = 10 * time.Second
	restartReset = time.Minute
)

// leaveWithin bounds the wait for a supervisor that was killed.
const leaveWithin = 15 * time.Second

var errNoSupervisor = errors.New("the supervisor cannot be started")

// Run keeps a supervisor and follows what its containers do, until ctx ends.
// Containers run on then; a supervisor without any ends too. It returns an error when no supervisor can be started
// at all.
func (r *Runtime) Run(ctx context.Context) error {
	defer r.images.Close()
	defer r.leave()
	defer r.pool.stop()
	r.pool.start()
	var loads sync.WaitGroup
	defer loads.Wait()
	if r.cfg.ImagesDir != "" {
		loads.Go(func() { r.loadImagesDir(ctx) })
	}
	wait := restartFirst
	for {
		began := r.clock.Now()
		err := r.supervise(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errNoSupervisor) {
			select {
			case <-r.ready:
			default:
				return err // it never could: this is no matter of trying again
			}
		}
		r.log.Warn("supervisor is gone; its containers are too", "error", err)
		if r.clock.Since(began) > restartReset {
			wait = restartFirst
		}
		timer := r.clock.NewTimer(wait)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		wait = min(2*wait, restartMost)
	}
}

// supervise reaches the supervisor, or starts one, and follows it until it ends.
func (r *Runtime) supervise(ctx context.Context) error {
	if _, err := r.client.Info(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		// Whatever ran belonged to a supervisor that is no more.
		r.clean(ctx)
		if err := r.startSupervisor(ctx); err != nil {
			return fmt.Errorf("%w: %w", errNoSupervisor, err)
		}
	}
	return r.client.Watch(ctx,
		func(states []supervisor.State) {
			r.reconcile(ctx, states)
			select {
			case <-r.ready:
			default:
				close(r.ready)
			}
		},
		r.changed)
}

// startSupervisor runs a supervisor of its own session, from memory: sealed, so
// that no container can ever change what the next one starts with.
func (r *Runtime) startSupervisor(ctx context.Context) error {
	binary, err := r.binary()
	if err != nil {
		return err
	}
	os.Remove(r.client.Socket)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.client.Socket, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	if err := os.Chmod(r.client.Socket, 0o600); err != nil {
		return err
	}
	file, err := listener.File()
	if err != nil {
		return err
	}
	defer file.Close()
	logs, err := os.OpenFile(r.runPath("supervisor.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close()
	cmd := exec.Command("/proc/self/fd/"+strconv.Itoa(int(binary.Fd())),
		"-root", r.runPath("supervisor"), "-cgroups", strings.Join(r.supervisorCgroups(), ","))
	cmd.Args[0] = "clipper-supervisor"
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + strings.TrimPrefix(defaultPath, "PATH="), "GOGC=50"}
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	// While it is this process's child it is waited for, so as to leave no zombie.
	go cmd.Wait()
	if _, err := r.client.Info(ctx); err != nil {
		return fmt.Errorf("it does not answer (see %s): %w", logs.Name(), err)
	}
	return nil
}

func (r *Runtime) supervisorCgroup() string { return filepath.Join(r.cfg.CgroupParent, "supervisor") }

// supervisorCgroups are where the supervisor goes, so that it neither counts
// for this process nor ends with its cgroup.
func (r *Runtime) supervisorCgroups() []string {
	cgroup := r.supervisorCgroup()
	if r.host.unified {
		return r.host.cgroupDirs(cgroup)
	}
	var dirs []string
	for _, c := range []string{"systemd", "memory", "pids"} {
		if slices.Contains(r.host.controllers, c) {
			dirs = append(dirs, r.host.cgroupDir(c, cgroup))
		}
	}
	return dirs
}

// supervisorBinary returns the supervisor's binary as a sealed file in memory.
// The supervisor runs from the very same pages, so keeping it open costs nothing.
func (r *Runtime) supervisorBinary() (_ *os.File, err error) {
	fd, err := unix.MemfdCreate("clipper-supervisor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 every such file could be executed
		fd, err = unix.MemfdCreate("clipper-supervisor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "clipper-supervisor")
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if r.cfg.SupervisorPath != "" {
		src, err := os.Open(r.cfg.SupervisorPath)
		if err != nil {
			return nil, err
		}
		defer src.Close()
		if _, err := f.ReadFrom(src); err != nil {
			return nil, err
		}
	} else if err := embedded.WriteSupervisor(f); err != nil {
		return nil, err
	}
	if err := f.Chmod(0o511); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	// While the kernel looks at a page or moves it, the file counts as in use.
	// It waits for that, a fraction of a second; a busy machine takes longer.
	for tries := 0; ; tries++ {
		if _, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err == nil {
			return f, nil
		}
		if err != unix.EBUSY || tries == sealTries {
			return nil, os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
		}
	}
}

// sealTries is how often a file that is in use is asked for again.
const sealTries = 30

// reconcile brings what is known here and what the supervisor holds together.
func (r *Runtime) reconcile(ctx context.Context, states []supervisor.State) {
	held := map[string]bool{}
	r.mu.Lock()
	for _, st := range states {
		held[st.ID] = true
	}
	var strays []string
	for id := range held {
		if s := r.sandboxes[id]; r.containers[id] == nil && (s == nil || !s.pausing) {
			strays = append(strays, id)
		}
	}
	for _, c := range r.containers {
		if !held[c.id] && !c.making && c.refused == nil {
			r.lost(c)
		}
	}
	for _, s := range r.sandboxes {
		if s.pausing && !held[s.id] {
			s.pausing = false
			r.unready(s)
		}
	}
	r.mu.Unlock()
	for _, st := range states {
		r.changed(st)
	}
	for _, id := range strays {
		if err := r.client.Delete(ctx, id); err != nil {
			r.log.Warn("container without a record stays", "container", id, "error", err)
		}
	}
}

// lost notes the end of a container that nobody holds; the caller holds r.mu.
// The supervisor may have left its exit status.
func (r *Runtime) lost(c *container) {
	if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		return
	}
	var exit supervisor.ExitStatus
	if raw, err := os.ReadFile(r.runPath("supervisor", "exits", c.id)); err == nil && json.Unmarshal(raw, &exit) == nil {
		r.ended(c, exit)
		return
	}
	c.finish(r.clock.Now(), codeUnknown, reasonUnknown, "")
	r.changedContainer(c)
	r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, c.sandbox)
}

func (r *Runtime) ended(c *container, exit supervisor.ExitStatus) {
	reason := reasonError
	switch {
	case exit.OOMKilled:
		reason = reasonOOMKilled
	case exit.Code == 0:
		reason = reasonCompleted
	}
	if c.state == runtimeapi.ContainerState_CONTAINER_EXITED {
		return
	}
	c.finish(exit.At, int32(exit.Code), reason, "")
	r.changedContainer(c)
	r.tell(c.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, c.sandbox)
}

// unready notes that a sandbox can no longer serve; the caller holds r.mu.
func (r *Runtime) unready(s *sandbox) {
	if !s.ready {
		return
	}
	s.ready = false
	r.changedSandbox(s)
	r.tell(s.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, s)
}

// changed takes a change that the supervisor tells.
func (r *Runtime) changed(st supervisor.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sandboxes[st.ID]; s != nil {
		if st.Phase == supervisor.Exited && s.pausing {
			r.unready(s)
		}
		return
	}
	c := r.containers[st.ID]
	if c == nil {
		return
	}
	c.pid = st.PID
	if !st.Started.IsZero() {
		r.running(c, st.Started)
	}
	if st.Phase == supervisor.Exited {
		r.ended(c, st.Exit)
	}
}

// pidOf is the first process of a running container.
func (r *Runtime) pidOf(id string) (int, error) {
	c, err := r.findContainer(id)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING || c.pid == 0 {
		return 0, fmt.Errorf("container %q is not running - state %v", id, c.state)
	}
	return c.pid, nil
}

// clean removes what the containers of a supervisor that is gone left behind:
// processes, cgroups, mounts. The records stay: they are reported as ended.
func (r *Runtime) clean(ctx context.Context) {
	r.mu.Lock()
	containers := slices.Collect(maps.Values(r.containers))
	var pausing []*sandbox
	for _, s := range r.sandboxes {
		if s.pausing {
			pausing = append(pausing, s)
		}
	}
	r.mu.Unlock()
	// One that hangs, or that this process cannot reach, would hold on to all.
	if err := r.killCgroup(ctx, r.supervisorCgroup()); err != nil {
		r.log.Warn("the former supervisor stays", "error", err)
	}
	var wg sync.WaitGroup
	for _, c := range containers {
		wg.Go(func() {
			if err := r.killCgroup(ctx, r.cgroupOf(c)); err != nil {
				r.log.Warn("leftover processes stay", "container", c.id, "error", err)
			}
			if err := removeMounted(r.runPath("containers", c.id)); err != nil {
				r.log.Warn("leftover mounts stay", "container", c.id, "error", err)
			}
		})
	}
	for _, s := range pausing {
		wg.Go(func() {
			if err := r.killCgroup(ctx, filepath.Join(r.cgroupParent(s), s.id)); err != nil {
				r.log.Warn("leftover processes stay", "sandbox", s.id, "error", err)
			}
		})
	}
	wg.Wait()
	r.mu.Lock()
	for _, c := range containers {
		if !c.making && c.refused == nil {
			r.lost(c)
		}
	}
	r.mu.Unlock()
	if err := os.RemoveAll(r.runPath("supervisor")); err != nil {
		r.log.Warn("leftover state stays", "error", err)
	}
}

// leave ends a supervisor that holds nothing, and removes what is empty of the
// cgroups then: an orderly end leaves no more behind than the pods need.
func (r *Runtime) leave() {
	r.mu.Lock()
	holds := len(r.sandboxes)+len(r.containers) > 0
	r.mu.Unlock()
	if holds {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	if err := r.killCgroup(ctx, r.supervisorCgroup()); err != nil {
		r.log.Warn("the supervisor stays", "error", err)
		return
	}
	for _, dir := range r.host.cgroupDirs(r.cfg.CgroupParent) {
		// What others are in cannot be removed, and stays.
		_ = removeCgroupTree(dir)
	}
	for up := path.Dir(r.cfg.CgroupParent); len(up) > 1; up = path.Dir(up) {
		for _, dir := range r.host.cgroupDirs(up) {
			_ = os.Remove(dir)
		}
	}
}

// killCgroup ends all processes of a cgroup and removes it from all hierarchies.
func (r *Runtime) killCgroup(ctx context.Context, cgroup string) error {
	dirs := slices.DeleteFunc(r.host.cgroupDirs(cgroup), func(dir string) bool { return !fileExists(dir) })
	for _, dir := range dirs {
		if err := emptyCgroup(ctx, dir); err != nil {
			return err
		}
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, removeCgroupTree(dir))
	}
	return errors.Join(errs...)
}

// emptyCgroup kills what is in a cgroup and below it, and waits until it is gone.
func emptyCgroup(ctx context.Context, dir string) error {
	// On v2 the kernel does it, and none can flee by forking.
	os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	for {
		pids, err := cgroupPIDs(dir)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := killAndWait(ctx, pid); err != nil {
				return err
			}
		}
	}
}

func cgroupPIDs(dir string) (pids []int, err error) {
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
			return err
		}
		raw, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				err = nil
			}
			return err
		}
		for _, field := range strings.Fields(string(raw)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// killAndWait ends a process and returns when it has ended.
func killAndWait(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	unix.SetNonblock(fd, true)
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	// The descriptor becomes readable at the process's end.
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func removeCgroupTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroupTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// loadImagesDir loads the archives of the images folder.
func (r *Runtime) loadImagesDir(ctx context.Context) {
	entries, err := os.ReadDir(r.cfg.ImagesDir)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("images folder is not read", "folder", r.cfg.ImagesDir, "error", err)
		}
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || ctx.Err() != nil {
			continue
		}
		path := filepath.Join(r.cfg.ImagesDir, e.Name())
		if err := r.loadFile(ctx, path); err != nil && ctx.Err() == nil {
			r.log.Warn("image archive is not loaded", "file", path, "error", err)
		}
	}
}

func (r *Runtime) loadFile(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = r.LoadImages(ctx, f)
	return err
}

// once logs a note about this machine the first time it is given.
func (r *Runtime) once(note string) {
	r.mu.Lock()
	seen := r.notes[note]
	if !seen {
		if r.notes == nil {
			r.notes = map[string]bool{}
		}
		r.notes[note] = true
	}
	r.mu.Unlock()
	if !seen {
		r.log.Warn("this machine does not allow what a container asks", "note", note)
	}
}
