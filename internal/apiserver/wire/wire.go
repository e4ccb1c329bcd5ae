// Package wire gathers what is written to a connection while more is known to
// follow.
//
// HTTP/2 of net/http writes an answer in frames of at most 16 KiB, each through
// a buffer of 4 KiB and in two TLS records: a list of 5 MB is 700 system calls.
// Whoever writes the body knows how much is coming, and says so; the bytes then
// leave together.
//
// Invariants: the order is kept. Nothing is held once what was announced has
// passed, nor longer than a moment if it does not come.
package wire

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

const (
	// most is how much is held before it is written.
	most = 64 << 10
	// moment is how long bytes are held when what was announced does not come:
	// the client's window is full, or the stream was reset.
	moment = time.Millisecond
)

// Listen returns l with connections that can gather. The clock tells how long a
// moment is: the system's, as for the deadlines of sockets.
func Listen(l net.Listener, c clock.WithDelayedExecution) net.Listener { return listener{l, c} }

type listener struct {
	net.Listener
	clock clock.WithDelayedExecution
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c, clock: l.clock}, nil
}

// Conn is a connection that can gather.
type Conn struct {
	net.Conn
	clock clock.WithDelayedExecution

	// expect is how many bytes were announced that have not passed. It is apart
	// from mu, which a Write to a slow client holds for long.
	expect atomic.Int64

	mu   sync.Mutex
	held *[]byte
	late clock.Timer // writes what is held
	err  error       // of a write that nobody waited for
}

// buffers hold what is gathered, and a record more.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, most+18<<10); return &b }}

// Expect announces that n bytes are about to be written. A nil Conn, of a
// caller in this process, has nothing to gather.
func (c *Conn) Expect(n int) {
	if c != nil {
		c.expect.Store(int64(n))
	}
}

// around is the least that an answer's headers and the frames and records of
// both add to its body: HTTP/2 writes the headers by themselves.
const around = 60

// ExpectAnswer announces an answer with a body of n bytes, whose headers have
// not been written.
func (c *Conn) ExpectAnswer(n int) { c.Expect(n + around) }

// Write writes or gathers.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	left := c.expect.Add(-int64(len(p)))
	if left < 0 {
		c.expect.CompareAndSwap(left, 0) // or more was announced just now
	}
	if c.held == nil && left <= 0 {
		return c.Conn.Write(p)
	}
	if c.held == nil {
		c.held = buffers.Get().(*[]byte)
		if c.late == nil {
			c.late = c.clock.AfterFunc(moment, c.expire)
		} else {
			c.late.Reset(moment)
		}
	} else if len(*c.held)+len(p) > cap(*c.held) {
		c.late.Stop()
		if err := c.flush(); err != nil {
			return 0, err
		}
		return c.Conn.Write(p)
	}
	*c.held = append(*c.held, p...)
	if left <= 0 || len(*c.held) >= most {
		c.late.Stop()
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// flush writes what is held; mu is held.
func (c *Conn) flush() error {
	if c.held == nil {
		return nil
	}
	_, err := c.Conn.Write(*c.held)
	*c.held = (*c.held)[:0]
	buffers.Put(c.held)
	c.held = nil
	if err != nil {
		c.err = err
	}
	return err
}

func (c *Conn) expire() {
	c.expect.Store(0)
	c.mu.Lock()
	_ = c.flush() // the next Write tells
	c.mu.Unlock()
}

type key struct{}

// Context is an http.Server's ConnContext: Of finds the connection.
func Context(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if w, ok := c.(*Conn); ok {
		return context.WithValue(ctx, key{}, w)
	}
	return ctx
}

// Of returns the connection that a request came by, or nil.
func Of(ctx context.Context) *Conn {
	c, _ := ctx.Value(key{}).(*Conn)
	return c
}
