//go:build linux && cgo

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"clipper/internal/cri/supervisor"
)

// drainLimit is how long an ended container's streams may stay open; only a
// process outside the container can hold them.
const drainLimit = 2 * time.Second

// container is one held container.
type container struct {
	lc      *libcontainer.Container
	process *libcontainer.Process
	streams *streams
	exited  chan struct{} // closed when the exit status is known

	starting sync.Mutex // one start at a time

	state supervisor.State // guarded by server.mu
}

// create makes a container whose first process waits for start.
func (s *server) create(r supervisor.CreateRequest) (_ any, err error) {
	var spec specs.Spec
	if err := json.Unmarshal(r.Spec, &spec); err != nil {
		return nil, &supervisor.Error{Code: supervisor.CodeInvalid, Message: fmt.Sprintf("decoding the specification: %v", err)}
	}
	if spec.Process == nil || len(spec.Process.Args) == 0 {
		return nil, &supervisor.Error{Code: supervisor.CodeInvalid, Message: "no command specified"}
	}
	s.mu.Lock()
	_, taken := s.containers[r.ID]
	switch {
	case s.ending:
		err = &supervisor.Error{Code: supervisor.CodeInvalid, Message: "the supervisor is shutting down"}
	case taken:
		err = &supervisor.Error{Code: supervisor.CodeExists, Message: fmt.Sprintf("container %q exists", r.ID)}
	default:
		s.containers[r.ID] = nil // taken, not yet to be found
		s.creating.Add(1)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer s.creating.Done()
	defer func() {
		if err != nil {
			s.mu.Lock()
			delete(s.containers, r.ID)
			s.mu.Unlock()
		}
	}()

	notes := s.limits.clamp(spec.Process)
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: r.ID, Spec: &spec})
	if err != nil {
		return nil, err
	}
	config.Labels = nil // annotations are the agent's; they need not be kept again
	config.Seccomp = s.filters.same(spec.Linux, config.Seccomp)
	lc, err := libcontainer.Create(filepath.Join(s.root, "state"), r.ID, config)
	if err != nil {
		return nil, err
	}
	c := &container{lc: lc, exited: make(chan struct{})}
	defer func() {
		if err != nil {
			lc.Destroy()
		}
	}()
	c.process, err = newProcess(spec.Process)
	if err != nil {
		return nil, err
	}
	c.process.Init = true
	started, err := c.openStreams(r, spec.Process, s.buffers)
	if err != nil {
		return nil, err
	}
	pid := 0
	err = s.reaper.start(func() (int, error) {
		if err := lc.Start(c.process); err != nil {
			return 0, err
		}
		pid, err = c.process.Pid()
		return pid, err
	})
	if err2 := started(err); err == nil && err2 != nil {
		c.process.Signal(unix.SIGKILL)
		c.process.Wait()
		err = err2
	}
	if err != nil {
		return nil, err
	}
	s.quiet.touch()
	c.streams.run()
	s.mu.Lock()
	c.state = supervisor.State{ID: r.ID, Phase: supervisor.Created, PID: pid, Created: time.Now()}
	s.containers[r.ID] = c
	s.tell(c.state)
	s.mu.Unlock()
	go s.await(c)
	return supervisor.CreateReply{ID: r.ID, PID: pid, Notes: notes}, nil
}

// openStreams gives the process its standard streams. The returned function is
// called with the outcome of the start and lets go of the process's ends.
func (c *container) openStreams(r supervisor.CreateRequest, p *specs.Process, buffers *buffers) (started func(error) error, err error) {
	log, err := openLog(r.LogPath, buffers)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	st := &streams{log: log, once: r.StdinOnce}
	c.streams = st
	var ours, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			f.Close()
		}
	}
	defer func() {
		if err != nil {
			closeAll(ours)
			closeAll(theirs)
			log.close()
		}
	}()
	if p.Terminal {
		setSize(c.process, p.ConsoleSize)
		parent, err := consoleSocket(c.process)
		if err != nil {
			return nil, err
		}
		return func(err error) error {
			c.process.ConsoleSocket.Close()
			defer parent.Close()
			if err == nil {
				st.console, err = receiveConsole(parent)
			}
			if err != nil {
				log.close()
				return err
			}
			if r.Stdin {
				st.stdin = st.console
			}
			st.outputs = []*output{{name: "stdout", src: st.console, log: log, buffers: buffers}}
			return nil
		}, nil
	}
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	outR, outW := pipe()
	ours, theirs = append(ours, outR), append(theirs, outW)
	errR, errW := pipe()
	ours, theirs = append(ours, errR), append(theirs, errW)
	c.process.Stdout, c.process.Stderr = outW, errW
	if r.Stdin {
		inR, inW := pipe()
		ours, theirs = append(ours, inW), append(theirs, inR)
		c.process.Stdin, st.stdin = inR, inW
	}
	if err != nil {
		return nil, err
	}
	st.outputs = []*output{{name: "stdout", src: outR, log: log, buffers: buffers}, {name: "stderr", src: errR, log: log, buffers: buffers}}
	return func(err error) error {
		closeAll(theirs)
		if err != nil {
			closeAll(ours)
			log.close()
		}
		return nil
	}, nil
}

// await keeps the exit status and tells it.
func (s *server) await(c *container) {
	ps, err := wait(c.process)
	exit := supervisor.ExitStatus{At: time.Now(), Code: 255}
	if ps != nil {
		exit.Code = exitCode(ps)
	} else {
		s.log.Warn("exit status is lost", "id", c.state.ID, "error", err)
	}
	s.reaper.reaped(c.state.PID)
	// In a shared PID namespace the first process's end is not the others'.
	if config := c.lc.Config(); !config.Namespaces.IsPrivate(configs.NEWPID) {
		c.lc.Signal(unix.SIGKILL)
	}
	exit.OOMKilled = oomKilled(c.lc)
	c.streams.drain(drainLimit)
	if err := s.saveExit(c.state.ID, exit); err != nil {
		s.log.Warn("exit status is not on file", "id", c.state.ID, "error", err)
	}
	s.mu.Lock()
	c.state.Phase, c.state.PID, c.state.Exit = supervisor.Exited, 0, exit
	s.tell(c.state)
	s.mu.Unlock()
	close(c.exited)
}

func exitCode(ps *os.ProcessState) int {
	ws := ps.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// saveExit leaves the status where an agent finds it when this process is gone.
func (s *server) saveExit(id string, exit supervisor.ExitStatus) error {
	raw, err := json.Marshal(exit)
	if err != nil {
		return err
	}
	path := filepath.Join(s.root, "exits", id)
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// oomKilled reads the kernel's own count; no event needs to be waited for.
func oomKilled(lc *libcontainer.Container) bool {
	state, err := lc.State()
	if err != nil {
		return false
	}
	file := ""
	if dir, ok := state.CgroupPaths["memory"]; ok {
		file = filepath.Join(dir, "memory.oom_control")
	} else if dir, ok := state.CgroupPaths[""]; ok {
		file = filepath.Join(dir, "memory.events")
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(raw)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(count), 10, 64)
			return n > 0
		}
	}
	return false
}

func (s *server) start(r supervisor.Target) (any, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	s.mu.Lock()
	phase := c.state.Phase
	if phase == supervisor.Created {
		// Before it runs, so that an end never seems to come first.
		c.state.Started = time.Now()
	}
	started := c.state.Started
	s.mu.Unlock()
	if phase != supervisor.Created {
		return nil, &supervisor.Error{Code: supervisor.CodeInvalid, Message: fmt.Sprintf("container %q is %s, not created", r.ID, phase)}
	}
	err = c.lc.Exec()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		c.state.Started = time.Time{}
		return nil, err
	}
	if c.state.Phase == supervisor.Created {
		c.state.Phase = supervisor.Running
		s.tell(c.state)
	}
	return supervisor.StartReply{Started: started}, nil
}

func (s *server) signal(r supervisor.SignalRequest) (any, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.exited:
		return nil, notRunning(r.ID)
	default:
	}
	if r.All {
		return nil, c.killAll(unix.Signal(r.Signal))
	}
	if err := c.process.Signal(unix.Signal(r.Signal)); errors.Is(err, os.ErrProcessDone) {
		return nil, notRunning(r.ID)
	} else if err != nil {
		return nil, err
	}
	return nil, nil
}

// killAll signals each process of the container.
func (c *container) killAll(sig unix.Signal) error {
	pids, err := c.lc.Processes()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			return fmt.Errorf("signalling process %d: %w", pid, err)
		}
	}
	return nil
}

func (s *server) delete(r supervisor.Target) (any, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, nil
	}
	select {
	case <-c.exited:
	default:
		c.process.Signal(unix.SIGKILL)
		<-c.exited
	}
	if err := c.lc.Destroy(); err != nil {
		return nil, err
	}
	os.Remove(filepath.Join(s.root, "exits", r.ID))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.containers[r.ID] == c {
		delete(s.containers, r.ID)
		state := c.state
		state.Phase = supervisor.Deleted
		s.tell(state)
	}
	return nil, nil
}

func (s *server) reopenLog(r supervisor.Target) (any, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.exited:
		return nil, notRunning(r.ID)
	default:
	}
	return nil, c.streams.log.reopen()
}

func (s *server) resize(r supervisor.ResizeRequest) (any, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	if c.streams.console == nil {
		return nil, &supervisor.Error{Code: supervisor.CodeInvalid, Message: fmt.Sprintf("container %q has no terminal", r.ID)}
	}
	return nil, resizeConsole(c.streams.console, r.Width, r.Height)
}

// update changes the limits that are set in the request.
func (s *server) update(r supervisor.UpdateRequest) (any, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	var want specs.LinuxResources
	if err := json.Unmarshal(r.Resources, &want); err != nil {
		return nil, &supervisor.Error{Code: supervisor.CodeInvalid, Message: fmt.Sprintf("decoding the resources: %v", err)}
	}
	config := c.lc.Config()
	group := *config.Cgroups
	res := *group.Resources
	group.Resources, config.Cgroups = &res, &group
	applyResources(&res, &want)
	// The devices stay as they are; the mark is for this one call.
	res.SkipDevices = true
	err = c.lc.Set(config)
	res.SkipDevices = false
	if errors.Is(err, libcontainer.ErrNotRunning) {
		return nil, notRunning(r.ID)
	}
	return nil, err
}

func applyResources(r *cgroups.Resources, want *specs.LinuxResources) {
	if cpu := want.CPU; cpu != nil {
		if cpu.Shares != nil {
			r.CpuShares = *cpu.Shares
			r.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*cpu.Shares)
		}
		if cpu.Quota != nil {
			r.CpuQuota = *cpu.Quota
		}
		if cpu.Period != nil {
			r.CpuPeriod = *cpu.Period
		}
		if cpu.Cpus != "" {
			r.CpusetCpus = cpu.Cpus
		}
		if cpu.Mems != "" {
			r.CpusetMems = cpu.Mems
		}
	}
	if memory := want.Memory; memory != nil {
		if memory.Limit != nil {
			r.Memory = *memory.Limit
		}
		if memory.Swap != nil {
			r.MemorySwap = *memory.Swap
		}
	}
	if want.Pids != nil {
		r.PidsLimit = want.Pids.Limit
	}
	if len(want.Unified) > 0 {
		r.Unified = want.Unified
	}
}
