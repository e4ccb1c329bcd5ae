//go:build linux && cgo

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"clipper/internal/cri/supervisor"
)

// exec runs a process in a container and answers on conn: first that it runs,
// then how it ended. An error is returned only when nothing was answered.
func (s *server) exec(conn supervisor.Conn, r supervisor.ExecRequest, fds []int) error {
	c, err := s.running(r.ID)
	var p specs.Process
	if err == nil {
		err = json.Unmarshal(r.Process, &p)
	}
	if err == nil && len(p.Args) == 0 {
		err = &supervisor.Error{Code: supervisor.CodeInvalid, Message: "no command specified"}
	}
	if err != nil {
		supervisor.CloseAll(fds)
		return err
	}
	s.limits.clamp(&p)
	lp, err := newProcess(&p)
	if err != nil {
		supervisor.CloseAll(fds)
		return err
	}
	var files []*os.File
	for _, fd := range fds {
		// These become the process's own streams, which programs expect to block.
		unix.SetNonblock(fd, false)
		files = append(files, os.NewFile(uintptr(fd), "stream"))
	}
	closeFiles := func() {
		for _, f := range files {
			f.Close()
		}
	}
	rest := files
	take := func(want bool) *os.File {
		if !want || len(rest) == 0 {
			return nil
		}
		f := rest[0]
		rest = rest[1:]
		return f
	}
	// A nil *os.File must not become a non-nil reader.
	if f := take(r.Stdin); f != nil {
		lp.Stdin = f
	}
	if f := take(r.Stdout); f != nil {
		lp.Stdout = f
	}
	if f := take(r.Stderr); f != nil {
		lp.Stderr = f
	}
	var parent *os.File
	if p.Terminal {
		setSize(lp, p.ConsoleSize)
		if parent, err = consoleSocket(lp); err != nil {
			closeFiles()
			return err
		}
		defer parent.Close()
	}
	pid := 0
	err = s.reaper.start(func() (int, error) {
		if err := c.lc.Start(lp); err != nil {
			return 0, err
		}
		pid, err = lp.Pid()
		return pid, err
	})
	closeFiles()
	if lp.ConsoleSocket != nil {
		lp.ConsoleSocket.Close()
	}
	if err != nil {
		select {
		case <-c.exited:
			return notRunning(r.ID)
		default:
			return err
		}
	}
	ended := make(chan supervisor.ExitStatus, 1)
	go func() {
		ps, _ := wait(lp)
		s.reaper.reaped(pid)
		exit := supervisor.ExitStatus{At: time.Now(), Code: 255}
		if ps != nil {
			exit.Code = exitCode(ps)
		}
		ended <- exit
	}()
	var console []*os.File
	if parent != nil {
		master, err := receiveConsole(parent)
		if err != nil {
			killGroup(pid)
			<-ended
			return fmt.Errorf("terminal: %w", err)
		}
		defer master.Close()
		console = append(console, master)
	}
	defer s.quiet.touch()
	gone := closed(conn)
	sendReply(conn, supervisor.ExecReply{PID: pid}, console...)
	for _, f := range console {
		f.Close() // from here on it is the agent's alone
	}
	select {
	case exit := <-ended:
		sendReply(conn, exit)
	case <-gone:
		killGroup(pid)
		<-ended
	}
	return nil
}

// killGroup kills a process that leads a session, and what it started. The PID
// is still its own: nobody has waited for it.
func killGroup(pid int) {
	unix.Kill(-pid, unix.SIGKILL)
	unix.Kill(pid, unix.SIGKILL)
}

// attach joins a container's streams until they or the connection end.
func (s *server) attach(conn supervisor.Conn, r supervisor.AttachRequest, fds []int) error {
	c, err := s.find(r.ID)
	if err != nil {
		supervisor.CloseAll(fds)
		return err
	}
	next := func(want bool, name string) *os.File {
		if !want || len(fds) == 0 {
			return nil
		}
		f := supervisor.File(fds[0], name)
		fds = fds[1:]
		return f
	}
	stdin := next(r.Stdin, "stdin")
	ends := map[string]*os.File{"stdout": next(r.Stdout, "stdout"), "stderr": next(r.Stderr, "stderr")}
	supervisor.CloseAll(fds)
	taps := map[*output]*tap{}
	for _, o := range c.streams.outputs {
		if f := ends[o.name]; f != nil {
			delete(ends, o.name)
			t := newTap(f)
			taps[o] = t
			o.attach(t)
		}
	}
	for _, f := range ends {
		if f != nil {
			f.Close() // a terminal has no stderr
		}
	}
	if err := sendReply(conn, struct{}{}); err != nil {
		s.log.Debug("attach is not told", "id", r.ID, "error", err)
	}
	fed, leaves := make(chan struct{}), make(chan struct{})
	if stdin != nil {
		go func() {
			defer close(fed)
			if c.streams.feed(stdin) {
				close(leaves)
			}
		}()
	} else {
		close(fed)
	}
	gone := closed(conn)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, t := range taps {
			<-t.done
		}
		// Without an output to follow, the container's end is the attach's.
		if len(taps) == 0 {
			<-c.exited
		}
	}()
	select {
	case <-gone:
	case <-ended:
	case <-c.exited:
		<-ended
	case <-leaves:
		for o, t := range taps {
			o.release(t)
		}
		if len(taps) > 0 {
			select {
			case <-ended:
			case <-gone:
			}
		}
	}
	for o, t := range taps {
		o.detach(t)
	}
	if stdin != nil {
		stdin.Close()
		<-fed
	}
	return nil
}
