package connect

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// lingerFor bounds how long a closed connection waits for its client.
const lingerFor = 5 * time.Second

// lingering gives its connection away so that closing it loses nothing. The
// kernel throws away what is still to be sent on a socket that is closed while
// data comes in, as the last of a process's output while its client types.
type lingering struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (l lingering) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(l.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &lingeringConn{Conn: conn}, rw, nil
}

// Unwrap is for http.ResponseController.
func (l lingering) Unwrap() http.ResponseWriter { return l.ResponseWriter }

type lingeringConn struct {
	net.Conn
	once sync.Once
	err  error
}

// Close ends what is sent, and closes the connection once the other side has
// read it all and closed its own.
func (c *lingeringConn) Close() error {
	c.once.Do(func() {
		half, ok := c.Conn.(interface{ CloseWrite() error })
		if !ok {
			c.err = c.Conn.Close()
			return
		}
		c.err = half.CloseWrite()
		if err := c.Conn.SetDeadline(time.Now().Add(lingerFor)); err != nil {
			c.Conn.Close()
			return
		}
		go func() {
			io.Copy(io.Discard, c.Conn)
			c.Conn.Close()
		}()
	})
	return c.err
}
