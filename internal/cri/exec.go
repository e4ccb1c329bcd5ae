package cri

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	remotecommand "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"clipper/internal/cri/supervisor"
)

// maxSyncOutput is how much of each stream ExecSync keeps.
const maxSyncOutput = 16 << 20

// drainLimit is how long the streams of an ended process are read for what its
// own children, which may hold them, still write.
const drainLimit = time.Second

// execution is a process to run in a container.
type execution struct {
	cmd            []string
	tty            bool
	stdin          io.Reader
	stdout, stderr io.Writer
	resize         <-chan remotecommand.TerminalSize
}

// execProcess is the process of an execution: the container's own, but for its
// command.
func (r *Runtime) execProcess(c *container, x execution) (json.RawMessage, error) {
	sc := c.config.GetLinux().GetSecurityContext()
	p := &specs.Process{
		Terminal:        x.tty,
		Args:            x.cmd,
		Env:             r.environment(c, c.settings),
		Cwd:             workingDir(c.config, c.settings),
		Capabilities:    capabilities(sc, r.host.capabilities),
		NoNewPrivileges: sc.GetNoNewPrivs() && !sc.GetPrivileged(),
		User:            processUser(c.user.Linux),
	}
	if x.tty && !slices.ContainsFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "TERM=") }) {
		p.Env = append(p.Env, "TERM=xterm")
	}
	return json.Marshal(p)
}

// exec runs a process to its end and returns its exit code.
func (r *Runtime) exec(ctx context.Context, id string, x execution) (int, error) {
	if len(x.cmd) == 0 {
		return 0, errors.New("no command specified")
	}
	c, err := r.findContainer(id)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	state := c.state
	r.mu.Unlock()
	if state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return 0, fmt.Errorf("container is in %s state", state)
	}
	process, err := r.execProcess(c, x)
	if err != nil {
		return 0, err
	}
	req := supervisor.ExecRequest{ID: c.id, Process: process}
	var ends pipes
	defer ends.close()
	if !x.tty {
		req.Stdin, req.Stdout, req.Stderr = x.stdin != nil, x.stdout != nil, x.stderr != nil
		if err := ends.open(req.Stdin, req.Stdout, req.Stderr); err != nil {
			return 0, err
		}
	}
	p, err := r.client.Exec(ctx, req, ends.theirs...)
	ends.closeTheirs()
	if err != nil {
		return 0, fmt.Errorf("failed to start exec: OCI runtime exec failed: exec failed: %w", err)
	}
	defer p.Close()
	if p.Console != nil {
		defer p.Console.Close()
		ends.stdin, ends.stdout = p.Console, p.Console
	}
	var outputs sync.WaitGroup
	for _, o := range []struct {
		to   io.Writer
		from *os.File
	}{{x.stdout, ends.stdout}, {x.stderr, ends.stderr}} {
		if o.to != nil && o.from != nil {
			outputs.Go(func() { io.Copy(o.to, o.from) })
		}
	}
	if x.stdin != nil && ends.stdin != nil {
		// It ends with the client's side; nobody waits for it.
		go func() {
			io.Copy(ends.stdin, x.stdin)
			if p.Console == nil {
				ends.stdin.Close()
			}
		}()
	}
	done := make(chan struct{})
	defer close(done)
	if x.resize != nil && p.Console != nil {
		go follow(x.resize, done, func(w, h uint16) error { return setWindow(p.Console, w, h) })
	}
	exit, err := p.Wait(ctx)
	if err != nil {
		ends.giveUp()
		outputs.Wait()
		return 0, err
	}
	// Children of the process may hold its streams open for good.
	limit := time.AfterFunc(drainLimit, ends.giveUp)
	outputs.Wait()
	limit.Stop()
	return exit.Code, nil
}

// follow applies terminal sizes as they come.
func follow(sizes <-chan remotecommand.TerminalSize, done <-chan struct{}, set func(w, h uint16) error) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok {
				return
			}
			// A terminal that is gone needs no size.
			set(size.Width, size.Height)
		case <-done:
			return
		}
	}
}

// pipes are the two ends of a process's streams: ours and theirs.
type pipes struct {
	stdin, stdout, stderr *os.File
	theirs                []*os.File
}

func (p *pipes) open(stdin, stdout, stderr bool) (err error) {
	pipe := func(want, reads bool) *os.File {
		if !want || err != nil {
			return nil
		}
		r, w, e := os.Pipe()
		if e != nil {
			err = e
			return nil
		}
		if reads {
			p.theirs = append(p.theirs, r)
			return w
		}
		p.theirs = append(p.theirs, w)
		return r
	}
	p.stdin = pipe(stdin, true)
	p.stdout = pipe(stdout, false)
	p.stderr = pipe(stderr, false)
	return err
}

func (p *pipes) closeTheirs() {
	for _, f := range p.theirs {
		f.Close()
	}
	p.theirs = nil
}

// giveUp ends reads that wait.
func (p *pipes) giveUp() {
	for _, f := range []*os.File{p.stdout, p.stderr} {
		if f != nil {
			f.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

func (p *pipes) close() {
	p.closeTheirs()
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ kept bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxSyncOutput - b.kept.Len(); room > 0 {
		b.kept.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// ExecSync runs a command to its end and returns its output. A command that
// ends with another code than zero is an error with that code; one that takes
// longer than timeout, when that is above zero, is killed.
func (r *Runtime) ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) ([]byte, []byte, error) {
	run := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		run, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var stdout, stderr bounded
	code, err := r.exec(run, id, execution{cmd: cmd, stdout: &stdout, stderr: &stderr})
	switch {
	case err == nil && code != 0:
		err = utilexec.CodeExitError{
			Err:  fmt.Errorf("command '%s' exited with %d: %s", strings.Join(cmd, " "), code, stderr.kept.Bytes()),
			Code: code,
		}
	case err != nil && run.Err() != nil && ctx.Err() == nil:
		err = status.Errorf(codes.DeadlineExceeded, "failed to exec in container: timeout %v exceeded: %v", timeout, context.DeadlineExceeded)
	case err != nil:
		err = fmt.Errorf("failed to exec in container: %w", err)
	}
	return stdout.kept.Bytes(), stderr.kept.Bytes(), err
}
