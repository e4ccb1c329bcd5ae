package http2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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
	lined      bool        // waits in the connection's line
	sent       bool        // the whole answer is, or is about to be composed
	received   bool        // the whole request
	ended      error       // why nothing more can be said or heard
	over       atomic.Bool // ended is set; who composes asks

	changed    sync.Cond // the window, the body, or what ends them; L is the connection's mu
	body       body
	came       int64 // how much of the body
	recvWindow int64
	pending    int64 // how much was read and not yet granted anew
	unwanted   bool  // nobody reads the body
	expects    bool  // to be told to go on

	reading, writing deadline

	trailer  http.Header         // the request's, which its handler has
	trailers []hpack.HeaderField // that came, and go there once the body was read

	answered bool // the answer's headers are composed; the writer's mu guards it
}

// drop ends a stream at once; mu is held.
func (c *conn) drop(st *stream, why error) {
	if st.ended == nil {
		st.ended = why
		st.over.Store(true)
	}
	st.cancel()
	c.discard(st)
	delete(c.streams, st.id)
	if !st.whole() {
		c.open--
	}
}

// whole tells whether both sides have said all; mu is held.
func (st *stream) whole() bool { return st.sent && st.received }

// discard forgets what came of a body that nobody reads; mu is held.
func (c *conn) discard(st *stream) {
	st.unwanted = true
	c.grant(st, int64(st.body.drop()))
	st.changed.Broadcast()
}

// receivedAll is what the end of a request does; mu is held.
func (c *conn) receivedAll(st *stream) {
	st.received = true
	if st.sent {
		c.open--
	}
	st.changed.Broadcast()
}

// cut ends a stream and tells the client why; mu is held.
func (c *conn) cut(id uint32, code http2.ErrCode) error {
	c.last = max(c.last, id) // of headers that were no request's
	if st := c.streams[id]; st != nil {
		c.drop(st, http2.StreamError{StreamID: id, Code: code})
	}
	if len(c.reset) < c.MaxStreams {
		c.reset = append(c.reset, id)
	} else {
		c.reset[c.resets%len(c.reset)] = id
	}
	c.resets++
	return c.out.rst(id, code)
}

// unaware tells whether frames of a stream that is over are to be ignored: the
// client may not know yet that it was reset, or comes too late to be answered.
// mu is held.
func (c *conn) unaware(id uint32) bool {
	return c.leaving && id > c.final || slices.Contains(c.reset, id)
}

// end gives up what the stream has left after its answer, which is broken if
// code is not http2.ErrCodeNo.
func (st *stream) end(code http2.ErrCode) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	st.reading.unset()
	st.writing.unset()
	c.discard(st)
	switch {
	case c.streams[st.id] != st:
	case st.whole():
		delete(c.streams, st.id)
	default:
		_ = c.cut(st.id, code) // or the connection is about to end anyway
	}
}

// grant lets the client send n bytes more, of the stream too if one is given;
// small grants are gathered. mu is held.
func (c *conn) grant(st *stream, n int64) {
	if n == 0 {
		return
	}
	// A grant that is not said is that of a connection that is about to end.
	if c.recvPending += n; c.recvPending >= readWindow/4 {
		_ = c.out.windowUpdate(0, uint32(c.recvPending))
		c.recvWindow += c.recvPending
		c.recvPending = 0
	}
	if st == nil || st.received || st.ended != nil {
		return
	}
	if st.pending += n; st.pending >= readWindow/4 {
		_ = c.out.windowUpdate(st.id, uint32(st.pending))
		st.recvWindow += st.pending
		st.pending = 0
	}
}

// Read reads the request's body. The stream is its io.ReadCloser.
func (st *stream) Read(p []byte) (int, error) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case st.ended != nil:
			return 0, st.ended
		case st.unwanted:
			return 0, errBodyClosed
		case st.body.size() > 0:
			n := st.body.take(p)
			c.grant(st, int64(n))
			return n, nil
		case st.received:
			st.takeTrailers()
			return 0, io.EOF
		case st.reading.late:
			return 0, os.ErrDeadlineExceeded
		}
		if !st.expects {
			st.changed.Wait()
			continue
		}
		st.expects = false
		c.mu.Unlock()
		err := c.out.informational(st, http.StatusContinue, nil)
		c.mu.Lock()
		if err != nil {
			return 0, err
		}
	}
}

// takeTrailers lets the handler have the trailers that it was told of.
func (st *stream) takeTrailers() {
	for _, h := range st.trailers {
		if had, ok := st.trailer[h.Name]; ok {
			st.trailer[h.Name] = append(had, h.Value)
		}
	}
	st.trailers = nil
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

// setDeadline makes one of the stream's deadlines late at a time; the zero time
// is never.
func (st *stream) setDeadline(d *deadline, at time.Time) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	d.unset()
	if at.IsZero() {
		return
	}
	in := at.Sub(c.Clock.Now())
	if in <= 0 {
		d.late = true
		st.changed.Broadcast()
		return
	}
	var timer clock.Timer
	timer = c.Clock.AfterFunc(in, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.timer == timer {
			d.late = true
			st.changed.Broadcast()
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
