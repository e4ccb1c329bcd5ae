//go:build linux && cgo

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"clipper/internal/cri/supervisor"
)

// server answers the agent's calls.
type server struct {
	root    string
	log     *slog.Logger
	started time.Time
	reaper  *reaper
	limits  *limits
	filters filters
	buffers *buffers
	quiet   *quiet
	stop    func()
	// warm moves this process to where it is. The kernel needs about 10 ms until
	// it can move a process between cgroups, unless it has just moved one: asked
	// for early, that time passes beside other work.
	warm func()

	creating sync.WaitGroup // containers being made

	mu         sync.Mutex
	ending     bool
	containers map[string]*container
	watchers   map[*watcher]struct{}
}

func newServer(root string, log *slog.Logger) (*server, error) {
	for _, dir := range []string{root, filepath.Join(root, "state"), filepath.Join(root, "exits")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return &server{
		root:       root,
		log:        log,
		started:    time.Now(),
		reaper:     newReaper(),
		limits:     newLimits(),
		warm:       func() {},
		quiet:      newQuiet(),
		buffers:    newBuffers(),
		containers: map[string]*container{},
		watchers:   map[*watcher]struct{}{},
	}, nil
}

// serve returns nil after a shutdown.
func (s *server) serve(listener *net.UnixListener) error {
	var once sync.Once
	stopped := make(chan struct{})
	s.stop = func() { once.Do(func() { close(stopped); listener.Close() }) }
	for {
		conn, err := listener.AcceptUnix()
		if err != nil {
			select {
			case <-stopped:
				return nil
			default:
				return fmt.Errorf("accepting: %w", err)
			}
		}
		go s.answer(supervisor.Conn{UnixConn: conn})
	}
}

func (s *server) answer(conn supervisor.Conn) {
	defer conn.Close()
	var req supervisor.Request
	fds, err := conn.Receive(&req)
	if err != nil {
		return
	}
	var reply any
	switch req.Method {
	case supervisor.MethodInfo:
		reply = supervisor.Info{Version: supervisor.Version, PID: os.Getpid(), Started: s.started}
	case supervisor.MethodPrepare:
		s.warm()
	case supervisor.MethodCreate:
		go s.warm()
		reply, err = with(req, s.create)
	case supervisor.MethodStart:
		reply, err = with(req, s.start)
	case supervisor.MethodSignal:
		reply, err = with(req, s.signal)
	case supervisor.MethodDelete:
		reply, err = with(req, s.delete)
	case supervisor.MethodUpdate:
		reply, err = with(req, s.update)
	case supervisor.MethodReopenLog:
		reply, err = with(req, s.reopenLog)
	case supervisor.MethodResize:
		reply, err = with(req, s.resize)
	case supervisor.MethodExec:
		go s.warm()
		var r supervisor.ExecRequest
		if err = decode(req, &r); err == nil {
			err = s.exec(conn, r, fds)
			if err == nil {
				return
			}
			fds = nil
		}
	case supervisor.MethodAttach:
		var r supervisor.AttachRequest
		if err = decode(req, &r); err == nil {
			err = s.attach(conn, r, fds)
			fds = nil
		}
	case supervisor.MethodWatch:
		s.watch(conn)
		return
	case supervisor.MethodShutdown:
		s.shutdown()
		defer s.stop()
	default:
		err = &supervisor.Error{Code: supervisor.CodeUnimplemented, Message: fmt.Sprintf("supervisor of version %d has no method %q", supervisor.Version, req.Method)}
	}
	supervisor.CloseAll(fds)
	if err != nil {
		sendError(conn, err)
		return
	}
	err = sendReply(conn, reply)
	if made, ok := reply.(supervisor.CreateReply); ok && err != nil {
		// Whoever asked has given up, and does not know of it.
		if _, err := s.delete(supervisor.Target{ID: made.ID}); err != nil {
			s.log.Warn("container that nobody knows stays", "id", made.ID, "error", err)
		}
	}
}

func decode(req supervisor.Request, body any) error {
	if err := json.Unmarshal(req.Body, body); err != nil {
		return &supervisor.Error{Code: supervisor.CodeInvalid, Message: fmt.Sprintf("decoding %s: %v", req.Method, err)}
	}
	return nil
}

func with[T any](req supervisor.Request, do func(T) (any, error)) (any, error) {
	var body T
	if err := decode(req, &body); err != nil {
		return nil, err
	}
	return do(body)
}

func sendReply(conn supervisor.Conn, body any, files ...*os.File) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return conn.Send(supervisor.Reply{Body: raw}, files...)
}

func sendError(conn supervisor.Conn, err error) {
	var e *supervisor.Error
	if !errors.As(err, &e) {
		e = &supervisor.Error{Code: supervisor.CodeInternal, Message: err.Error()}
	}
	// The other side may be gone; then there is nobody to tell.
	conn.Send(supervisor.Reply{Error: e})
}

func notFound(id string) error {
	return &supervisor.Error{Code: supervisor.CodeNotFound, Message: fmt.Sprintf("no container %q", id)}
}

func notRunning(id string) error {
	return &supervisor.Error{Code: supervisor.CodeNotRunning, Message: fmt.Sprintf("container %q is not running", id)}
}

func (s *server) find(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[id]
	if !ok || c == nil {
		return nil, notFound(id)
	}
	return c, nil
}

// running finds a container that has been started and has not ended.
func (s *server) running(id string) (*container, error) {
	c, err := s.find(id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state.Phase != supervisor.Running {
		return nil, notRunning(id)
	}
	return c, nil
}

// shutdown kills and forgets every container.
func (s *server) shutdown() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.creating.Wait()
	s.mu.Lock()
	var ids []string
	for id := range s.containers {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			if _, err := s.delete(supervisor.Target{ID: id}); err != nil {
				s.log.Warn("container left at shutdown", "id", id, "error", err)
			}
		})
	}
	wg.Wait()
}

// watcher is one connection that follows all changes. Its queue is as long as
// it must be: states are small, and a change is never lost.
type watcher struct {
	wake  chan struct{}
	queue []supervisor.State // guarded by server.mu
}

// tell queues a change for every watcher; the caller holds s.mu.
func (s *server) tell(state supervisor.State) {
	for w := range s.watchers {
		w.queue = append(w.queue, state)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (s *server) watch(conn supervisor.Conn) {
	w := &watcher{wake: make(chan struct{}, 1)}
	states := []supervisor.State{}
	s.mu.Lock()
	for _, c := range s.containers {
		if c != nil {
			states = append(states, c.state)
		}
	}
	s.watchers[w] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, w)
		s.mu.Unlock()
	}()
	gone := closed(conn)
	if sendReply(conn, states) != nil {
		return
	}
	for {
		select {
		case <-gone:
			return
		case <-w.wake:
		}
		s.mu.Lock()
		queue := w.queue
		w.queue = nil
		s.mu.Unlock()
		for _, state := range queue {
			if sendReply(conn, state) != nil {
				return
			}
		}
	}
}

// closed is closed when the other side hangs up.
func closed(conn supervisor.Conn) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		var buf [1]byte
		for {
			if _, err := conn.Read(buf[:]); err != nil {
				return
			}
		}
	}()
	return gone
}
