package http2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"k8s.io/utils/clock"
)

var (
	errBodyClosed = http.ErrBodyReadAfterClose
	errGone       = errors.New("http2: the client has left")
)

// stream is one request and its answer. The connection's mu guards it, but for
// what is set at its start.
type stream struct {
	c      *conn
	id     uint32
	cancel context.CancelFunc
	// declared is the body's length as its header tells, or -1.
	declared int64

	sendWindow int64
	sent       bool  // the whole answer
	received   bool  // the whole request
	ended      error // why nothing more can be said or heard

	arrived    sync.Cond // something of the body, its end, or its deadline; L is set by who waits
	body       []byte    // what came and was not read
	came       int64
	recvWindow int64
	pending    int64 // how much was read and not yet granted anew
	unwanted   bool  // nobody reads the body
	expects    bool  // to be told to go on

	reading deadline

	trailer http.Header // the request's, where they come to
}

// drop ends a stream at once; mu is held.
func (c *conn) drop(st *stream, why error) {
	if st.ended == nil {
		st.ended = why
	}
	st.cancel()
	c.discard(st)
	delete(c.streams, st.id)
	c.opened.Broadcast()
	st.wake()
}

// discard forgets what came of a body that nobody reads; mu is held.
func (c *conn) discard(st *stream) {
	st.unwanted = true
	n := int64(len(st.body))
	st.body = nil
	c.grant(nil, n)
}

// receivedAll is what the end of a request does; mu is held.
func (c *conn) receivedAll(st *stream) {
	st.received = true
	if st.sent {
		delete(c.streams, st.id)
	}
}

// sentAll is what the end of an answer does.
func (c *conn) sentAll(st *stream) {
	c.mu.Lock()
	st.sent = true
	if st.received {
		delete(c.streams, st.id)
	}
	c.mu.Unlock()
}

// resetStream ends a stream and tells the client why.
func (c *conn) resetStream(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	if id > c.last && id%2 == 1 {
		c.last = id // its headers were no request's
	}
	if st := c.streams[id]; st != nil {
		c.drop(st, http2.StreamError{StreamID: id, Code: code})
	}
	c.reset[c.resets%len(c.reset)] = id
	c.resets++
	c.mu.Unlock()
	c.out.rst(id, code)
}

// wasReset tells whether we ended the stream lately; mu is held.
func (c *conn) wasReset(id uint32) bool {
	for _, r := range c.reset {
		if r == id {
			return true
		}
	}
	return false
}

// grant lets the client send n bytes more, of the stream too if one is given;
// small grants are gathered. mu is held.
func (c *conn) grant(st *stream, n int64) {
	if n == 0 {
		return
	}
	if c.recvPending += n; c.recvPending >= readWindow/4 {
		c.out.windowUpdate(0, uint32(c.recvPending))
		c.recvWindow += c.recvPending
		c.recvPending = 0
	}
	if st == nil || st.received || st.ended != nil {
		return
	}
	if st.pending += n; st.pending >= readWindow/4 {
		c.out.windowUpdate(st.id, uint32(st.pending))
		st.recvWindow += st.pending
		st.pending = 0
	}
}

// take waits until some of n bytes may be sent on the stream, and returns how
// many: all that is asked for, or what the windows allow. Without wait it
// returns 0 if none may.
func (c *conn) take(st *stream, n int, wait bool) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case st.ended != nil:
			return 0, st.ended
		case c.closed:
			return 0, errGone
		}
		if n == 0 {
			return 0, nil
		}
		if k := min(int64(n), st.sendWindow, c.sendWindow); k > 0 {
			st.sendWindow -= k
			c.sendWindow -= k
			return int(k), nil
		}
		if !wait {
			return 0, nil
		}
		c.opened.Wait()
	}
}

// Read reads the request's body. The stream is its io.ReadCloser.
func (st *stream) Read(p []byte) (int, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.expects {
		st.expects = false
		c.mu.Unlock()
		err := c.out.informational(st.id, http.StatusContinue, nil)
		c.mu.Lock()
		if err != nil {
			return 0, err
		}
	}
	for {
		switch {
		case st.unwanted && st.ended == nil:
			return 0, errBodyClosed
		case len(st.body) > 0:
			n := copy(p, st.body)
			if st.body = st.body[n:]; len(st.body) == 0 {
				st.body = nil
			}
			c.grant(st, int64(n))
			return n, nil
		case st.received:
			return 0, io.EOF
		case st.ended != nil:
			return 0, st.ended
		case st.reading.late:
			return 0, os.ErrDeadlineExceeded
		}
		if st.arrived.L == nil {
			st.arrived.L = &c.mu
		}
		st.arrived.Wait()
	}
}

// Close says that nobody reads the rest of the body.
func (st *stream) Close() error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if !st.unwanted {
		st.c.discard(st)
	}
	return nil
}

// deadline is when a stream's reading or writing has taken too long. The
// connection's mu guards it.
type deadline struct {
	late  bool
	timer clock.Timer
}

// set makes the deadline late at a time, and tells whoever waits; the zero time
// is never. mu is held.
func (d *deadline) set(c *conn, at time.Time, tell func()) {
	d.unset()
	if at.IsZero() {
		return
	}
	in := at.Sub(c.Clock.Now())
	if in <= 0 {
		d.late = true
		tell()
		return
	}
	var timer clock.Timer
	timer = c.Clock.AfterFunc(in, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.timer == timer {
			d.late = true
			tell()
		}
	})
	d.timer = timer
}

// unset takes the deadline back; mu is held.
func (d *deadline) unset() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.late = false
}

// wake tells a reader of the body that something happened; mu is held.
func (st *stream) wake() {
	if st.arrived.L != nil {
		st.arrived.Broadcast()
	}
}
