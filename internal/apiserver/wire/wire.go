// Package wire lets whoever writes much to a TLS connection write it at once.
//
// crypto/tls hands each record of 16 KiB to the connection beneath by itself, a
// system call each. Whoever writes more holds the connection for that long.
//
// Invariants: the order is kept, and nothing is held but between Hold and Release.
package wire

import (
	"net"
	"sync"
)

// most is how much is held before it is written: somewhat more than the largest
// piece of an answer.
const most = 288 << 10

// Listen returns l with connections that can be held: each is a *Conn.
func Listen(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c}, nil
}

// Conn is a connection that can be held.
type Conn struct {
	net.Conn

	mu   sync.Mutex
	held *[]byte // nil while it is not
	err  error   // of the last write
}

// buffers hold what is held, and a record more.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, most+18<<10); return &b }}

// Hold keeps back what is written from now on. One caller holds at a time.
func (c *Conn) Hold() {
	c.mu.Lock()
	c.held = buffers.Get().(*[]byte)
	c.mu.Unlock()
}

// Release writes what is held, and what follows at once again. Its error is of
// any write since Hold.
func (c *Conn) Release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	buffers.Put(c.held)
	c.held = nil
	return c.err
}

// Write writes or keeps back.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return c.Conn.Write(p)
	}
	if len(*c.held)+len(p) > cap(*c.held) {
		c.flush()
	}
	if len(p) > cap(*c.held) {
		if c.err == nil {
			_, c.err = c.Conn.Write(p)
		}
	} else if *c.held = append(*c.held, p...); len(*c.held) >= most {
		c.flush()
	}
	if c.err != nil {
		return 0, c.err
	}
	return len(p), nil
}

// flush writes what is held; mu is held.
func (c *Conn) flush() {
	if len(*c.held) > 0 && c.err == nil {
		_, c.err = c.Conn.Write(*c.held)
	}
	*c.held = (*c.held)[:0]
}
