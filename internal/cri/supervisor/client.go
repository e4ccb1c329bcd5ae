package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Client calls a supervisor. It holds no connection of its own, so it needs no
// closing and outlives a restart of the other side.
type Client struct {
	// Socket is the path of the supervisor's socket.
	Socket string
}

// call is one open connection, cut when its context ends.
type call struct {
	Conn
	stop func() bool
}

func (c *Client) open(ctx context.Context, method Method, body any, files []*os.File) (*call, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", method, err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return nil, fmt.Errorf("reaching the supervisor: %w", err)
	}
	k := &call{Conn: Conn{conn.(*net.UnixConn)}}
	k.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	if err := k.Send(Request{Version: Version, Method: method, Body: raw}, files...); err != nil {
		k.Close()
		return nil, fmt.Errorf("%s: %w", method, k.cause(ctx, err))
	}
	return k, nil
}

func (k *call) Close() error {
	k.stop()
	return k.Conn.Close()
}

// cause prefers the context's error to the deadline that it set.
func (k *call) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next reads a reply into body, which may be nil.
func (k *call) next(ctx context.Context, method Method, body any) ([]int, error) {
	var reply Reply
	fds, err := k.Receive(&reply)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, k.cause(ctx, err))
	}
	if reply.Error == nil && body != nil {
		err = json.Unmarshal(reply.Body, body)
	} else if reply.Error != nil {
		err = reply.Error
	}
	if err != nil {
		CloseAll(fds)
		return nil, err
	}
	return fds, nil
}

func (c *Client) do(ctx context.Context, method Method, request, reply any) error {
	k, err := c.open(ctx, method, request, nil)
	if err != nil {
		return err
	}
	defer k.Close()
	_, err = k.next(ctx, method, reply)
	return err
}

// Info asks who answers.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	err := c.do(ctx, MethodInfo, struct{}{}, &info)
	return info, err
}

// Prepare says that a create is about to come, so that what takes time can be
// under way. It never fails: without it the create is slower.
func (c *Client) Prepare(ctx context.Context) {
	_ = c.do(ctx, MethodPrepare, struct{}{}, nil)
}

// Create makes a container, ready to start.
func (c *Client) Create(ctx context.Context, r CreateRequest) (CreateReply, error) {
	var reply CreateReply
	err := c.do(ctx, MethodCreate, r, &reply)
	return reply, err
}

// Start runs a created container and returns when it did.
func (c *Client) Start(ctx context.Context, id string) (time.Time, error) {
	var reply StartReply
	err := c.do(ctx, MethodStart, Target{ID: id}, &reply)
	return reply.Started, err
}

// Signal sends a signal to a container's first process, or to all of its.
// ErrNotRunning means that it had ended.
func (c *Client) Signal(ctx context.Context, id string, signal int, all bool) error {
	return c.do(ctx, MethodSignal, SignalRequest{ID: id, Signal: signal, All: all}, nil)
}

// Delete forgets a container, and kills it first if it runs. Deleting one that
// is not known is no error.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.do(ctx, MethodDelete, Target{ID: id}, nil)
}

// Update changes a container's limits.
func (c *Client) Update(ctx context.Context, id string, resources json.RawMessage) error {
	return c.do(ctx, MethodUpdate, UpdateRequest{ID: id, Resources: resources}, nil)
}

// ReopenLog opens a container's log anew, after it was renamed.
func (c *Client) ReopenLog(ctx context.Context, id string) error {
	return c.do(ctx, MethodReopenLog, Target{ID: id}, nil)
}

// Resize sets the size of a container's terminal.
func (c *Client) Resize(ctx context.Context, id string, width, height uint16) error {
	return c.do(ctx, MethodResize, ResizeRequest{ID: id, Width: width, Height: height}, nil)
}

// Shutdown kills all containers and ends the supervisor.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.do(ctx, MethodShutdown, struct{}{}, nil)
}

// Process is one started by Exec.
type Process struct {
	// PID is the process's in the supervisor's PID namespace.
	PID int
	// Console is the terminal's master end, the caller's to close, or nil.
	Console *os.File

	k *call
}

// Exec starts a process in a running container. The files are those of the
// request's streams; they stay the caller's. When ctx ends, or the Process is
// closed, a process that still runs is killed.
func (c *Client) Exec(ctx context.Context, r ExecRequest, files ...*os.File) (*Process, error) {
	k, err := c.open(ctx, MethodExec, r, files)
	if err != nil {
		return nil, err
	}
	var reply ExecReply
	got, err := k.next(ctx, MethodExec, &reply)
	if err != nil {
		k.Close()
		return nil, err
	}
	p := &Process{PID: reply.PID, k: k}
	if len(got) > 0 {
		p.Console = File(got[0], "console")
	}
	return p, nil
}

// Wait returns how the process ended. It is called once.
func (p *Process) Wait(ctx context.Context) (ExitStatus, error) {
	var status ExitStatus
	_, err := p.k.next(ctx, MethodExec, &status)
	return status, err
}

// Close ends the call, and the process if it still runs.
func (p *Process) Close() error { return p.k.Close() }

// Attach joins a container's streams until the container ends, all the files
// are closed by their other ends, or ctx ends. Started, when not nil, is called
// once the streams are joined: nothing written later is missed.
func (c *Client) Attach(ctx context.Context, r AttachRequest, started func(), files ...*os.File) error {
	k, err := c.open(ctx, MethodAttach, r, files)
	if err != nil {
		return err
	}
	defer k.Close()
	if _, err := k.next(ctx, MethodAttach, nil); err != nil {
		return err
	}
	if started != nil {
		started()
	}
	_, err = k.next(ctx, MethodAttach, nil)
	return err
}

// Watch calls known with all containers, then changed for each change, and
// returns when ctx ends or the supervisor does.
func (c *Client) Watch(ctx context.Context, known func([]State), changed func(State)) error {
	k, err := c.open(ctx, MethodWatch, struct{}{}, nil)
	if err != nil {
		return err
	}
	defer k.Close()
	var states []State
	if _, err := k.next(ctx, MethodWatch, &states); err != nil {
		return err
	}
	known(states)
	for {
		var s State
		if _, err := k.next(ctx, MethodWatch, &s); err != nil {
			return err
		}
		changed(s)
	}
}
