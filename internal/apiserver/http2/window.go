package http2

import (
	"os"
	"slices"

	"golang.org/x/net/http2"
)

// Who waits to send waits for the window of its stream, or, once that is open,
// in a line for the connection's: a window that grows wakes one that can use it,
// and that one the next, so that a client cannot wake a thousand with one frame.

// take waits until some of n bytes may be sent on the stream, and returns how
// many: all that is asked for, or what the windows allow. Without wait it
// returns 0 if none may. With end, the stream is sent when all may be.
func (c *conn) take(st *stream, n int, wait, end bool) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.next()
	defer c.leaveLine(st)
	for {
		switch {
		case st.ended != nil:
			return 0, st.ended
		case c.closed:
			return 0, errGone
		case st.writing.late:
			return 0, os.ErrDeadlineExceeded
		}
		k := int(max(0, min(int64(n), st.sendWindow, c.sendWindow)))
		if k > 0 || n == 0 || !wait {
			st.sendWindow -= int64(k)
			c.sendWindow -= int64(k)
			if end && k == n {
				c.sentAll(st)
			}
			return k, nil
		}
		if st.sendWindow <= 0 {
			c.leaveLine(st)
			c.next()
		} else if !st.lined {
			st.lined = true
			c.line = append(c.line, st)
		}
		st.changed.Wait()
	}
}

// untake gives back what was taken of a stream that ended before it was sent,
// and returns why.
func (c *conn) untake(st *stream, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendWindow += int64(n)
	c.next()
	return st.ended
}

// sentAll is what the end of an answer does; mu is held.
func (c *conn) sentAll(st *stream) {
	st.sent = true
	if st.received {
		c.open--
	}
}

// next wakes the first in the line, if there is something for it; mu is held.
func (c *conn) next() {
	if c.sendWindow > 0 && len(c.line) > 0 {
		st := c.line[0]
		c.leaveLine(st)
		st.changed.Broadcast()
	}
}

func (c *conn) leaveLine(st *stream) {
	if st.lined {
		st.lined = false
		i := slices.Index(c.line, st)
		c.line = slices.Delete(c.line, i, i+1)
	}
}

// changeWindows changes the windows of all streams by what the first one changed
// (RFC 9113, 6.9.2).
func (c *conn) changeWindows(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := n - c.firstSend
	c.firstSend = n
	for _, st := range c.streams {
		if st.sendWindow += by; st.sendWindow > mostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		if by > 0 && st.sendWindow > 0 {
			st.changed.Broadcast()
		}
	}
	return nil
}

// grow lets more be sent.
func (c *conn) grow(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	by, id := int64(f.Increment), f.StreamID
	if id == 0 {
		if c.sendWindow += by; c.sendWindow > mostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.next()
		return nil
	}
	st := c.streams[id]
	if st == nil {
		if id > c.last || id%2 == 0 {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil // it may not know yet that the stream is over
	}
	if st.sendWindow += by; st.sendWindow > mostWindow {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	}
	if st.sendWindow > 0 {
		st.changed.Broadcast()
	}
	return nil
}
