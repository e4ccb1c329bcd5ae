package h2

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

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// defaultWindow and defaultFrame are RFC 9113's.
	defaultWindow = 65535
	defaultFrame  = 16384
	maxWindow     = 1<<31 - 1
	// outMost is how much a connection gathers before its handlers wait.
	outMost = 256 << 10
	// outBound is how much it holds at most: beyond, a peer asks for answers
	// (to pings, settings) that it does not read.
	outBound = 1 << 20
	// outKeep is how much room an idle connection keeps.
	outKeep = 4 << 10
	// prefaceWithin bounds how long a peer may take to say what it speaks.
	prefaceWithin = 10 * time.Second
	// lingerFor bounds how long the last words of a connection may take.
	lingerFor = time.Second
	// lingerMost bounds what is read of a peer that is not listened to any more.
	lingerMost = 1 << 20
	// maxBother is how much a peer may ask for in vain.
	maxBother = 10000
	// botherFades is how long one unit of that is held against it.
	botherFades = 10 * time.Millisecond
)

// conn is one connection.
type conn struct {
	server  *Server
	nc      net.Conn
	tls     *tls.ConnectionState
	remote  string
	handler http.Handler
	ctx     context.Context
	cancel  context.CancelFunc
	framer  *http2.Framer // reads; the reader's own
	names   map[string]string

	heard  atomic.Int64 // when the last frame came, in nanoseconds since begun
	begun  time.Time
	pinged atomic.Bool

	mu      sync.Mutex
	streams map[uint32]*stream
	last    uint32 // the newest stream of the peer
	running int    // handlers, those of streams that ended included
	bother  int
	// botherAt is when it was last counted, since begun.
	botherAt time.Duration
	window   int64 // what may be sent
	initial  int64 // a new stream's
	frame    int   // the largest frame that the peer takes
	held     int   // what the peer may still send
	unread   int   // of bodies, and not given back to the peer's window
	blocked  int   // handlers that wait for window
	err      error // the connection is dead
	leaving  bool  // GOAWAY is sent
	done     bool  // nothing more is read

	out     []byte
	spare   []byte
	sending bool
	sent    sync.Cond // something went out, or err

	henc *hpack.Encoder
	hbuf bytes.Buffer

	idle, life *time.Timer
}

func newConn(ctx context.Context, s *Server, nc net.Conn, h http.Handler) *conn {
	c := &conn{
		server: s, nc: nc, handler: h, remote: nc.RemoteAddr().String(), begun: time.Now(),
		streams: map[uint32]*stream{}, names: map[string]string{},
		window: defaultWindow, initial: defaultWindow, frame: defaultFrame, held: s.c.Window,
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	if t, ok := nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.tls = &state
	}
	c.sent.L = &c.mu
	c.henc = hpack.NewEncoder(&c.hbuf)
	c.framer = http2.NewFramer(nil, bufio.NewReaderSize(nc, 4<<10))
	c.framer.SetMaxReadFrameSize(defaultFrame)
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = uint32(s.c.MaxHeader)
	return c
}

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.close()
	c.nc.SetReadDeadline(time.Now().Add(prefaceWithin))
	if err := c.preface(); err != nil {
		c.server.c.Logger.Debug("no HTTP/2 connection", "from", c.remote, "err", err)
		return
	}
	c.mu.Lock()
	c.appendSettings()
	c.idle = time.AfterFunc(c.server.c.IdleTimeout, c.idled)
	c.life = time.AfterFunc(c.server.c.PingAfter, c.checkLife)
	c.life.Stop()
	c.unlockLater()
	for first := true; ; first = false {
		f, err := c.framer.ReadFrame()
		if err == nil && first {
			c.nc.SetReadDeadline(time.Time{})
			if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
				err = http2.ConnectionError(http2.ErrCodeProtocol)
			}
		}
		if err == nil {
			c.heard.Store(int64(time.Since(c.begun)))
			err = c.process(f)
		}
		if err == nil {
			continue
		}
		if !c.survives(err) {
			return
		}
	}
}

// preface reads the client's, which is fixed.
func (c *conn) preface() error {
	b := make([]byte, len(http2.ClientPreface))
	// The framer reads through a buffer of its own that must not miss a byte:
	// the preface is read in full and no further.
	if _, err := io.ReadFull(c.nc, b); err != nil {
		return err
	}
	if string(b) != http2.ClientPreface {
		return errors.New("the client's preface is another protocol's")
	}
	return nil
}

// survives answers an error of the peer; it returns false when the connection
// is over.
func (c *conn) survives(err error) bool {
	var (
		ofStream http2.StreamError
		ofConn   http2.ConnectionError
	)
	switch {
	case errors.As(err, &ofStream):
		c.mu.Lock()
		c.reset(ofStream.StreamID, ofStream.Code)
		dead := c.bothered(10)
		c.unlockLater()
		if dead {
			c.linger()
		}
		return !dead
	case errors.Is(err, http2.ErrFrameTooLarge):
		c.fail(http2.ErrCodeFrameSize)
	case errors.As(err, &ofConn):
		c.fail(http2.ErrCode(ofConn))
	}
	return false
}

// fail says why the connection ends.
func (c *conn) fail(code http2.ErrCode) {
	c.mu.Lock()
	c.out = appendGoAway(c.out, c.last, code)
	c.leaving = true
	c.unlockLater()
	c.linger()
}

// linger gives the peer the time to hear last words: closing with input unread
// would take back what was sent.
func (c *conn) linger() {
	c.nc.SetReadDeadline(time.Now().Add(lingerFor))
	io.Copy(io.Discard, io.LimitReader(c.nc, lingerMost))
}

// close ends everything, once handlers had the chance to see it.
func (c *conn) close() {
	c.cancel()
	c.mu.Lock()
	c.done = true
	// What is being sent, such as a GOAWAY, goes first, if the peer takes it.
	c.nc.SetWriteDeadline(time.Now().Add(lingerFor))
	for c.sending {
		c.sent.Wait()
	}
	if c.err == nil {
		c.err = net.ErrClosed
	}
	for _, s := range c.streams {
		s.abort(c.err)
	}
	clear(c.streams)
	if c.idle != nil {
		c.idle.Stop()
		c.life.Stop()
	}
	c.sent.Broadcast()
	c.mu.Unlock()
	c.nc.Close()
}

// leave asks the peer for no more requests; mu must not be held.
func (c *conn) leave() {
	c.mu.Lock()
	if !c.leaving {
		c.leaving = true
		c.out = appendGoAway(c.out, c.last, http2.ErrCodeNo)
	}
	c.unlockSend()
	c.endIfQuiet()
}

// endIfQuiet ends a connection that is leaving and has nothing left to do.
func (c *conn) endIfQuiet() {
	c.mu.Lock()
	quiet := c.leaving && len(c.streams) == 0 && c.running == 0
	for quiet && c.sending && c.err == nil {
		c.sent.Wait()
	}
	c.mu.Unlock()
	if quiet {
		// The reader ends on this.
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// bothered counts what the peer made this side do for nothing; true is too
// much. Time and requests that are answered make up for it. mu is held.
func (c *conn) bothered(n int) bool {
	now := time.Since(c.begun)
	c.bother = max(0, c.bother-int((now-c.botherAt)/botherFades))
	c.botherAt = now
	if c.bother += n; c.bother <= maxBother {
		return false
	}
	if !c.leaving {
		c.leaving = true
		c.out = appendGoAway(c.out, c.last, http2.ErrCodeEnhanceYourCalm)
	}
	return true
}

// idled runs when no request came for a while.
func (c *conn) idled() {
	c.mu.Lock()
	idle := len(c.streams) == 0 && c.running == 0
	c.mu.Unlock()
	if idle {
		c.leave()
	}
}

// checkLife runs when a peer with open requests may have been silent for long.
func (c *conn) checkLife() {
	silent := time.Since(c.begun) - time.Duration(c.heard.Load())
	c.mu.Lock()
	if c.err != nil || len(c.streams) == 0 {
		c.mu.Unlock()
		return
	}
	after := c.server.c.PingAfter
	switch {
	case silent < after:
		c.pinged.Store(false)
		c.life.Reset(after - silent)
	case c.pinged.Load():
		c.mu.Unlock()
		c.nc.Close() // the reader ends on this
		return
	default:
		c.pinged.Store(true)
		c.out = appendHeader(c.out, 8, http2.FramePing, 0, 0)
		c.out = append(c.out, "are you?"...)
		c.life.Reset(c.server.c.PingTimeout)
	}
	c.unlockSend()
}

// unlockSend releases mu, and sends what is there unless someone is sending.
func (c *conn) unlockSend() {
	if c.sending || len(c.out) == 0 {
		c.mu.Unlock()
		return
	}
	c.sending = true
	c.send()
}

// unlockLater is unlockSend for the reader, which must never wait for a peer
// that itself waits to be read.
func (c *conn) unlockLater() {
	start := !c.sending && len(c.out) > 0
	if start {
		c.sending = true
	}
	c.mu.Unlock()
	if start {
		go func() {
			c.mu.Lock()
			c.send()
		}()
	}
}

// send sends until nothing is left. mu is held, and released.
func (c *conn) send() {
	for len(c.out) > 0 && c.err == nil {
		b := c.out
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		if err != nil && c.err == nil {
			c.err = err
		}
		c.spare = b[:0]
		c.sent.Broadcast()
	}
	c.sending = false
	if c.err != nil {
		c.out, c.spare = nil, nil
	} else {
		c.out, c.spare = shrink(c.out), shrink(c.spare)
	}
	dead := c.err != nil && !c.done
	c.sent.Broadcast()
	c.mu.Unlock()
	if dead {
		c.nc.Close() // the reader ends on this
	}
}

// large are buffers for large answers; an idle connection holds none.
var large = sync.Pool{New: func() any {
	b := make([]byte, 0, outMost+outMost/4)
	return &b
}}

// reserve makes room for n more bytes to send; mu is held.
func (c *conn) reserve(n int) {
	if need := len(c.out) + n; need > cap(c.out) && need > outKeep {
		b := *large.Get().(*[]byte)
		c.out = append(b[:0], c.out...)
	}
}

// shrink returns an empty buffer's small self, or nil.
func shrink(b []byte) []byte {
	switch {
	case cap(b) > outMost:
		b = b[:0]
		large.Put(&b)
		return nil
	case cap(b) > outKeep:
		return nil
	}
	return b
}

// process handles one frame. Errors are of the stream or the connection.
func (c *conn) process(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	}
	c.mu.Lock()
	err := c.control(f)
	if err == nil && (len(c.out) > outBound || c.bothered(0)) {
		err = http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	c.unlockLater()
	return err
}

// control handles the frames about the connection; mu is held.
func (c *conn) control(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		c.bothered(1)
		if err := f.ForeachSetting(c.setting); err != nil {
			return err
		}
		c.out = appendHeader(c.out, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		c.bothered(1)
		c.out = appendHeader(c.out, 8, http2.FramePing, http2.FlagPingAck, 0)
		c.out = append(c.out, f.Data[:]...)
	case *http2.WindowUpdateFrame:
		return c.opened(f.StreamID, int64(f.Increment))
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if s := c.streams[f.StreamID]; s != nil {
			c.bothered(10)
			c.forget(s)
			s.abort(errReset)
		}
	case *http2.GoAwayFrame:
		c.leaving = true
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case *http2.PriorityFrame:
		c.bothered(1)
	default: // what is not known is to be passed over
		c.bothered(1)
	}
	return nil
}

// setting takes one of the peer's settings over; mu is held.
func (c *conn) setting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.henc.SetMaxDynamicTableSizeLimit(min(s.Val, 4096))
		c.henc.SetMaxDynamicTableSize(min(s.Val, 4096))
	case http2.SettingMaxFrameSize:
		// Larger ones would only make streams wait for each other.
		c.frame = min(int(s.Val), 64<<10)
	case http2.SettingInitialWindowSize:
		grow := int64(s.Val) - c.initial
		c.initial = int64(s.Val)
		for _, st := range c.streams {
			if st.window += grow; st.window > maxWindow {
				return http2.ConnectionError(http2.ErrCodeFlowControl)
			}
			st.moved.Broadcast()
		}
	}
	return nil
}

// opened adds to a window; mu is held.
func (c *conn) opened(id uint32, n int64) error {
	if id == 0 {
		if c.window += n; c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		if c.blocked > 0 {
			for _, s := range c.streams {
				s.moved.Broadcast()
			}
		}
		return nil
	}
	if id > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if s := c.streams[id]; s != nil {
		if s.window += n; s.window > maxWindow {
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
		}
		s.moved.Broadcast()
	}
	return nil
}

// reset ends a stream with an error; mu is held.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	c.out = appendHeader(c.out, 4, http2.FrameRSTStream, 0, id)
	c.out = appendUint32(c.out, uint32(code))
	if s := c.streams[id]; s != nil {
		c.forget(s)
		s.abort(errReset)
	}
}

// forget drops a stream that is over for both sides; mu is held.
func (c *conn) forget(s *stream) {
	delete(c.streams, s.id)
	// What it held of its body goes back to the peer.
	c.giveBack(nil, len(s.body)-s.read)
	s.body, s.read = nil, 0
	if len(c.streams) == 0 {
		c.life.Stop()
		c.idle.Reset(c.server.c.IdleTimeout)
	}
}

// giveBack lets the peer send as much again as was read; mu is held.
func (c *conn) giveBack(s *stream, n int) {
	if n <= 0 {
		return
	}
	if c.unread += n; c.unread >= c.server.c.Window/4 {
		c.out = appendHeader(c.out, 4, http2.FrameWindowUpdate, 0, 0)
		c.out = appendUint32(c.out, uint32(c.unread))
		c.held += c.unread
		c.unread = 0
	}
	if s == nil || s.ended {
		return
	}
	if s.unread += n; s.unread >= streamWindow(c.server)/4 {
		c.out = appendHeader(c.out, 4, http2.FrameWindowUpdate, 0, s.id)
		c.out = appendUint32(c.out, uint32(s.unread))
		s.held += s.unread
		s.unread = 0
	}
}

// streamWindow is how much of one request's body a connection holds.
func streamWindow(s *Server) int { return max(s.c.Window/4, defaultWindow) }

// appendSettings appends what this side takes.
func (c *conn) appendSettings() {
	settings := [...]http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.server.c.MaxStreams)},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.server.c.MaxHeader)},
		{ID: http2.SettingInitialWindowSize, Val: uint32(streamWindow(c.server))},
		{ID: http2.SettingMaxFrameSize, Val: defaultFrame},
	}
	c.out = appendHeader(c.out, 6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		c.out = append(c.out, byte(s.ID>>8), byte(s.ID))
		c.out = appendUint32(c.out, s.Val)
	}
	if more := c.server.c.Window - defaultWindow; more > 0 {
		c.out = appendHeader(c.out, 4, http2.FrameWindowUpdate, 0, 0)
		c.out = appendUint32(c.out, uint32(more))
	}
}

func appendHeader(b []byte, length int, t http2.FrameType, flags http2.Flags, stream uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), byte(t), byte(flags),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendUint32(b []byte, v uint32) []byte {
	return append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode) []byte {
	b = appendHeader(b, 8, http2.FrameGoAway, 0, 0)
	return appendUint32(appendUint32(b, last), uint32(code))
}
