package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	streamlib "k8s.io/cri-streaming/pkg/streaming"
	remotecommand "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"clipper/internal/cri/supervisor"
)

// streaming serves exec, attach and port-forward by the library that all of
// Kubernetes uses, made when it is first needed.
type streaming struct {
	runtime *Runtime
	once    sync.Once
	server  streamlib.Server
	err     error
}

var _ streamlib.Runtime = (*streaming)(nil)

func newStreaming(r *Runtime) *streaming { return &streaming{runtime: r} }

func (s *streaming) get() (streamlib.Server, error) {
	s.once.Do(func() {
		config := streamlib.DefaultConfig
		// The handler is in-process: of these URLs only the path counts.
		config.BaseURL = &url.URL{Scheme: "http", Host: "localhost", Path: "/"}
		s.server, s.err = streamlib.NewServer(config, s)
	})
	return s.server, s.err
}

// StreamingHandler serves the paths of the URLs that Exec, Attach and
// PortForward give, over SPDY and WebSockets. Each serves once, and soon.
func (r *Runtime) StreamingHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		server, err := r.streaming.get()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		server.ServeHTTP(w, req)
	})
}

// StreamingRuntime gives the streams themselves, for those who serve them.
func (r *Runtime) StreamingRuntime() streamlib.Runtime { return r.streaming }

// Exec gives the URL at which a process's streams are to be had.
func (r *Runtime) Exec(_ context.Context, req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	if err := r.mustRun(req.GetContainerId()); err != nil {
		return nil, err
	}
	server, err := r.streaming.get()
	if err != nil {
		return nil, err
	}
	return server.GetExec(req)
}

// Attach gives the URL at which a container's streams are to be had.
func (r *Runtime) Attach(_ context.Context, req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	if err := r.mustRun(req.GetContainerId()); err != nil {
		return nil, err
	}
	server, err := r.streaming.get()
	if err != nil {
		return nil, err
	}
	return server.GetAttach(req)
}

// PortForward gives the URL at which a pod's ports are to be had.
func (r *Runtime) PortForward(_ context.Context, req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	s, err := r.findSandbox(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	ready := s.ready
	r.mu.Unlock()
	if !ready {
		return nil, errors.New("sandbox container is not running")
	}
	server, err := r.streaming.get()
	if err != nil {
		return nil, err
	}
	return server.GetPortForward(req)
}

func (r *Runtime) mustRun(id string) error {
	c, err := r.findContainer(id)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return fmt.Errorf("container is in %s state", c.state)
	}
	return nil
}

// Exec runs a process with the given streams.
func (s *streaming) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	x := execution{cmd: cmd, tty: tty, resize: resize, stdin: in}
	// A nil of one type must not become a value of another.
	if out != nil {
		x.stdout = out
	}
	if errOut != nil {
		x.stderr = errOut
	}
	code, err := s.runtime.exec(ctx, id, x)
	if err == nil && code != 0 {
		err = utilexec.CodeExitError{Err: fmt.Errorf("error executing command %v, exit code %d", cmd, code), Code: code}
	}
	return err
}

// Attach joins a container's streams.
func (s *streaming) Attach(ctx context.Context, id string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	r := s.runtime
	c, err := r.findContainer(id)
	if err != nil {
		return err
	}
	if err := r.mustRun(c.id); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req := supervisor.AttachRequest{ID: c.id, Stdin: in != nil && c.config.Stdin, Stdout: out != nil, Stderr: errOut != nil && !c.config.Tty}
	var ends pipes
	if err := ends.open(req.Stdin, req.Stdout, req.Stderr); err != nil {
		ends.close()
		return err
	}
	var outputs sync.WaitGroup
	for _, o := range []struct {
		to   io.Writer
		from *os.File
		on   bool
	}{{out, ends.stdout, req.Stdout}, {errOut, ends.stderr, req.Stderr}} {
		if o.on {
			outputs.Go(func() {
				// A client that is gone ends the attach.
				if _, err := io.Copy(o.to, o.from); err != nil {
					cancel()
				}
			})
		}
	}
	if req.Stdin {
		go func() {
			io.Copy(ends.stdin, in)
			ends.stdin.Close()
		}()
	}
	if resize != nil && c.config.Tty {
		go follow(resize, ctx.Done(), func(w, h uint16) error { return r.client.Resize(ctx, c.id, w, h) })
	}
	err = r.client.Attach(ctx, req, ends.closeTheirs, ends.theirs...)
	ends.closeTheirs()
	if ctx.Err() != nil {
		ends.giveUp()
	}
	outputs.Wait()
	ends.close()
	return err
}

// PortForward joins a stream and a port on the pod's loopback.
func (s *streaming) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	r := s.runtime
	if port <= 0 || port > 65535 {
		return fmt.Errorf("invalid port %d", port)
	}
	sb, err := r.findSandbox(id)
	if err != nil {
		return err
	}
	conn, err := r.dialPod(ctx, sb, strconv.Itoa(int(port)))
	if err != nil {
		return fmt.Errorf("failed to execute portforward in network namespace of sandbox %q: %w", sb.id, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(conn, stream)
		conn.(*net.TCPConn).CloseWrite()
	})
	io.Copy(stream, conn)
	// The pod has said all; the client's side ends with the stream.
	stream.Close()
	wg.Wait()
	return nil
}

// dialPod connects to a port inside the pod's network namespace.
func (r *Runtime) dialPod(ctx context.Context, s *sandbox, port string) (net.Conn, error) {
	var errs []error
	for _, host := range []string{"127.0.0.1", "::1"} {
		var conn net.Conn
		dial := func() (err error) {
			// The socket belongs to the namespace in which it is made; the rest of
			// the dialling may happen on any thread.
			var d net.Dialer
			conn, err = d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
			return err
		}
		var err error
		if namespaceFlags(namespaceOptions(s.config))&unix.CLONE_NEWNET != 0 {
			err = inNamespaces(r.runPath("sandboxes", s.id), dial)
		} else {
			err = dial()
		}
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func setWindow(console *os.File, width, height uint16) error {
	raw, err := console.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	}); err != nil {
		return err
	}
	return failed
}
