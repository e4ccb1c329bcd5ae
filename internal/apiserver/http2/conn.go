package http2

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"clipper/internal/apiserver/wire"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// readWindow is how much of its bodies a connection may have unread, and so
	// also each of its requests.
	readWindow = 1 << 20
	// firstWindow is every window until it is said otherwise (RFC 9113, 6.9.2).
	firstWindow = 65535
	// mostWindow is the largest that a window may become.
	mostWindow = 1<<31 - 1
	// prefaceWithin is how long a client may take to begin.
	prefaceWithin = 10 * time.Second
	// lingerWithin is how long a connection that ends may take to be read to its
	// end: closed with bytes unread, it would lose what was written last.
	lingerWithin = time.Second
	// mostRefused is how many requests beyond MaxStreams end the connection.
	mostRefused = 1000
)

// conn is one client's connection.
type conn struct {
	*server
	net     net.Conn
	tls     *tls.ConnectionState
	remote  string
	base    context.Context
	handler http.Handler
	out     writer

	in     *bufio.Reader
	framer *http2.Framer
	names  map[string]string // canonical forms of headers, as they came

	heard   atomic.Int64 // when a frame came last, by the clock, in nanoseconds
	watched sync.Mutex   // guards timer's making and end
	over    bool
	stop    func() bool // of the timer that looks after the connection

	mu      sync.Mutex
	streams map[uint32]*stream // that are open, or whose end is being composed
	open    int                // how many of them are
	closed  bool
	last    uint32   // the newest stream of the client
	running int      // requests that are being answered
	refused int      // requests, since one was accepted
	idle    int64    // since when none is, by the clock; 0: some are
	asked   int64    // when a ping was sent that was not answered; 0: none
	leaving bool     // the client was told to open no more
	final   uint32   // the last that it may, then
	reset   []uint32 // streams that were reset lately
	resets  int

	sendWindow  int64     // how much may be sent on all streams
	firstSend   int64     // a new stream's
	line        []*stream // those that wait for the connection's window alone
	recvWindow  int64     // how much may come
	recvPending int64     // how much was read and not yet granted anew
}

// serve answers the connection's requests until it ends.
func (s *server) serve(base context.Context, nc net.Conn, w *wire.Conn, state *tls.ConnectionState, h http.Handler) {
	ctx, cancel := context.WithCancel(base)
	defer cancel()
	c := &conn{
		server: s, net: nc, tls: state, base: ctx, handler: h,
		remote:  nc.RemoteAddr().String(),
		in:      bufio.NewReader(nc),
		streams: map[uint32]*stream{}, names: map[string]string{},
		sendWindow: firstWindow, firstSend: firstWindow, recvWindow: readWindow,
	}
	c.out.init(nc, w, s.Clock)
	c.framer = http2.NewFramer(nil, c.in)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = uint32(s.MaxHeader)
	c.framer.SetMaxReadFrameSize(record) // what it may send until it is told otherwise
	c.framer.SetReuseFrames()
	defer nc.Close()
	if !s.add(c) {
		return
	}
	defer s.remove(c)
	defer c.close()
	now := c.now()
	c.heard.Store(now)
	c.idle = now
	if err := c.greet(); err != nil {
		return
	}
	c.look()
	c.read()
}

func (c *conn) now() int64 { return c.Clock.Now().UnixNano() }

// greet exchanges the first words.
func (c *conn) greet() error {
	_ = c.net.SetReadDeadline(time.Now().Add(prefaceWithin))
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.in, preface); err != nil {
		return err
	}
	if !bytes.Equal(preface, []byte(http2.ClientPreface)) {
		return errors.New("http2: not a client's preface")
	}
	_ = c.out.settings( // the first words fit
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.MaxStreams)},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.MaxHeader)},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: readWindow},
	)
	_ = c.out.windowUpdate(0, readWindow-firstWindow)
	f, err := c.framer.ReadFrame()
	if err == nil {
		if _, ok := f.(*http2.SettingsFrame); !ok {
			err = http2.ConnectionError(http2.ErrCodeProtocol)
		} else {
			err = c.frame(f)
		}
	}
	if err != nil {
		c.fail(err)
		return err
	}
	return c.net.SetReadDeadline(time.Time{})
}

// read handles frames until the connection ends.
func (c *conn) read() {
	for {
		c.out.listen()
		f, err := c.framer.ReadFrame()
		if err == nil {
			c.heard.Store(c.now())
			err = c.frame(f)
		}
		if err == nil {
			continue
		}
		var of http2.StreamError
		if errors.As(err, &of) {
			err = c.refuse(of)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// refuse ends a stream that broke a rule.
func (c *conn) refuse(of http2.StreamError) error {
	if of.StreamID%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol) // it is not the client's
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut(of.StreamID, of.Code)
}

// fail ends the connection, and tells the client why if it broke a rule.
func (c *conn) fail(err error) {
	var code http2.ErrCode
	var of http2.ConnectionError
	switch {
	case errors.As(err, &of):
		code = http2.ErrCode(of)
	case errors.Is(err, http2.ErrFrameTooLarge):
		code = http2.ErrCodeFrameSize
	default:
		return // the client is gone
	}
	if err := c.out.goAway(c.dropAll(), code); err != nil {
		return // it does not read
	}
	c.bye()
	_, _ = io.CopyN(io.Discard, c.in, readWindow)
}

// end lets the client open no more streams, and ends the connection when the
// last is answered.
func (c *conn) end() {
	c.mu.Lock()
	told, quiet := c.leaving, c.running == 0
	if !told {
		c.leaving, c.final = true, c.last
		_ = c.out.goAway(c.final, http2.ErrCodeNo)
	}
	c.mu.Unlock()
	if told {
		return
	}
	if quiet {
		go c.bye()
	}
}

// bye says that nothing more comes, after what was composed, and lets the
// reader come to its end: a connection that is closed with bytes unread loses
// what was written last.
func (c *conn) bye() {
	c.out.drain()
	if t, ok := c.net.(interface{ CloseWrite() error }); ok {
		_ = t.CloseWrite()
	}
	_ = c.net.SetReadDeadline(time.Now().Add(lingerWithin))
}

// hangUp closes the connection below TLS, so that it waits for nobody; the
// reader finds out.
func (c *conn) hangUp() {
	n := c.net
	if t, ok := n.(*tls.Conn); ok {
		n = t.NetConn()
	}
	n.Close()
}

// close ends all that is under way.
func (c *conn) close() {
	c.watched.Lock()
	c.over = true
	if c.stop != nil {
		c.stop()
	}
	c.watched.Unlock()
	c.out.close(net.ErrClosed)
	c.dropAll()
}

// dropAll ends all streams, and returns the newest.
func (c *conn) dropAll() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, st := range c.streams {
		c.drop(st, io.ErrUnexpectedEOF)
	}
	return c.last
}

// look ends the connection of a client that is gone, and looks again when it
// may be.
func (c *conn) look() {
	now := c.now()
	next := c.dueIn(now)
	if next < 0 {
		c.hangUp()
		return
	}
	c.watched.Lock()
	defer c.watched.Unlock()
	if !c.over {
		c.stop = c.Clock.AfterFunc(next, c.look).Stop
	}
}

// dueIn does what is due, and returns how long nothing will be; below zero, the
// connection has had its time.
func (c *conn) dueIn(now int64) time.Duration {
	since := c.out.since.Load()
	if since > 0 && now-since >= int64(c.WriteWithin) {
		return -1
	}
	c.mu.Lock()
	idle, asked := c.idle, c.asked
	heard := c.heard.Load()
	if asked > 0 && heard >= asked {
		asked, c.asked = 0, 0
	}
	ping := asked == 0 && now-heard >= int64(c.PingAfter)
	if ping {
		asked, c.asked = now, now
	}
	c.mu.Unlock()
	next := heard + int64(c.PingAfter)
	if asked > 0 {
		next = asked + int64(c.PingWithin)
	}
	if idle > 0 {
		if now-idle >= int64(c.Idle) {
			c.end()
			return c.WriteWithin
		}
		next = min(next, idle+int64(c.Idle))
	}
	if asked > 0 && now-asked >= int64(c.PingWithin) {
		return -1
	}
	if since > 0 {
		next = min(next, since+int64(c.WriteWithin))
	}
	if ping {
		_ = c.out.ping() // or the connection is about to end anyway
	}
	return time.Duration(max(next-now, int64(time.Millisecond)))
}

// answer calls the handler for a request.
func (c *conn) answer(h http.Handler, st *stream, w *response, r *http.Request) {
	defer c.answered(st)
	defer w.finish()
	h.ServeHTTP(w, r)
	w.done = true
}

// answered gives the request's place to others.
func (c *conn) answered(st *stream) {
	st.cancel()
	c.mu.Lock()
	c.running--
	if c.running == 0 {
		c.idle = c.now()
	}
	over := c.leaving && c.running == 0
	c.mu.Unlock()
	if over {
		c.bye()
	}
}
