package h2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

var errReset = errors.New("the stream was reset")

// stream is one request and its answer. The lock of the connection guards it.
type stream struct {
	c      *conn
	id     uint32
	cancel context.CancelFunc
	moved  sync.Cond // window, body, or end
	window int64     // what may be sent
	err    error     // the stream is over

	body     []byte // received and not read, from read on
	read     int
	left     int64 // of the declared length; -1 if none was
	held     int   // what the peer may still send
	unread   int   // read and not given back
	ended    bool  // the request is whole
	finished bool  // the answer is whole
	expects  bool  // 100-continue

	readBy, writeBy *time.Timer
	readLate        bool
	writeLate       bool
}

// abort ends a stream for its handler; mu is held.
func (s *stream) abort(err error) {
	if s.err == nil {
		s.err = err
	}
	s.cancel()
	s.moved.Broadcast()
}

// headers begins a request, or ends one with trailers.
func (c *conn) headers(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	c.mu.Lock()
	if s := c.streams[id]; s != nil {
		err := s.trailers(f)
		c.unlockLater()
		return err
	}
	if id%2 == 0 || id <= c.last {
		c.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.last = id
	if c.leaving {
		c.mu.Unlock()
		return nil // the peer knows that it is not answered
	}
	// Handlers of streams that were reset still run, and count.
	if len(c.streams) >= c.server.c.MaxStreams || c.running >= 2*c.server.c.MaxStreams {
		c.mu.Unlock()
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	c.mu.Unlock()

	r, err := c.request(f)
	if err != nil {
		return err
	}
	s := &stream{c: c, id: id, ended: f.StreamEnded(), left: r.ContentLength, held: streamWindow(c.server)}
	s.moved.L = &c.mu
	ctx, cancel := context.WithCancel(c.ctx)
	s.cancel = cancel
	if s.ended {
		if r.ContentLength > 0 {
			cancel()
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
		}
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		r.Body = (*body)(s)
		s.expects = httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue")
		delete(r.Header, "Expect")
	}
	c.mu.Lock()
	s.window = c.initial
	if len(c.streams) == 0 {
		c.idle.Stop()
		c.life.Reset(c.server.c.PingAfter)
	}
	c.streams[id] = s
	c.running++
	c.mu.Unlock()
	w := &response{s: s, request: r.WithContext(ctx), header: make(http.Header, 4)}
	if f.Truncated {
		go w.run(http.HandlerFunc(tooMuch))
		return nil
	}
	go w.run(c.handler)
	return nil
}

func tooMuch(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "request header fields are too large", http.StatusRequestHeaderFieldsTooLarge)
}

// trailers ends a request's body; mu is held.
func (s *stream) trailers(f *http2.MetaHeadersFrame) error {
	if s.ended || !f.StreamEnded() || len(f.PseudoFields()) > 0 || s.left > 0 {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	s.end()
	return nil
}

// end notes that the request is whole; mu is held.
func (s *stream) end() {
	s.ended = true
	if s.finished {
		s.c.forget(s)
	}
	s.moved.Broadcast()
}

// data is a part of a body.
func (c *conn) data(f *http2.DataFrame) error {
	c.mu.Lock()
	defer c.unlockLater()
	size := int(f.Length) // padding counts as well
	if c.held -= size; c.held < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	s := c.streams[f.StreamID]
	if s == nil || s.ended || s.err != nil {
		c.giveBack(nil, size)
		if s != nil && s.ended {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
		}
		return nil // what was under way when the stream ended
	}
	if size > s.held {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	s.held -= size
	b := f.Data()
	if len(b) == 0 && !f.StreamEnded() {
		if c.bothered(1) {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
	}
	if s.left >= 0 {
		if s.left -= int64(len(b)); s.left < 0 || f.StreamEnded() && s.left > 0 {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	}
	if s.finished { // nobody will read it
		c.giveBack(s, size)
	} else {
		c.giveBack(s, size-len(b))
		if s.read > len(s.body)/2 { // no longer than twice what is unread
			s.body, s.read = s.body[:copy(s.body, s.body[s.read:])], 0
		}
		if s.body == nil && s.left >= 0 {
			s.body = make([]byte, 0, min(int64(len(b))+s.left, 64<<10))
		}
		s.body = append(s.body, b...)
	}
	if f.StreamEnded() {
		s.end()
	}
	s.moved.Broadcast()
	return nil
}

// request makes the request that headers state.
func (c *conn) request(f *http2.MetaHeadersFrame) (*http.Request, error) {
	bad := http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	r := &http.Request{
		Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: -1,
		RemoteAddr: c.remote, TLS: c.tls,
		Header: make(http.Header, len(f.Fields)),
	}
	var scheme, path string
	// One array holds the values of all headers that come once.
	values := make([]string, 0, len(f.Fields))
	for i := range f.Fields {
		h := &f.Fields[i]
		switch h.Name {
		case ":method":
			r.Method = h.Value
		case ":scheme":
			scheme = h.Value
		case ":path":
			path = h.Value
		case ":authority":
			r.Host = h.Value
		case "connection", "proxy-connection", "transfer-encoding", "upgrade", "keep-alive":
			return nil, bad
		case "te":
			if h.Value != "trailers" {
				return nil, bad
			}
		default:
			name := c.canonical(h.Name)
			if have, ok := r.Header[name]; !ok {
				values = append(values, h.Value)
				n := len(values)
				r.Header[name] = values[n-1 : n : n]
			} else if name == "Cookie" {
				have[0] += "; " + h.Value
			} else {
				r.Header[name] = append(have, h.Value)
			}
		}
	}
	if r.Method == "" || r.Method == http.MethodConnect || (scheme != "https" && scheme != "http") || path == "" || path[0] != '/' && path != "*" {
		return nil, bad
	}
	if host := r.Header["Host"]; r.Host == "" && len(host) == 1 {
		r.Host = host[0]
	}
	delete(r.Header, "Host")
	if strings.ContainsAny(r.Host, "@/ ") {
		return nil, bad
	}
	var err error
	if r.URL, err = url.ParseRequestURI(path); err != nil {
		return nil, bad
	}
	r.RequestURI = path
	if n := r.Header["Content-Length"]; len(n) > 0 {
		v, err := strconv.ParseUint(n[0], 10, 63)
		if err != nil || len(n) > 1 {
			return nil, bad
		}
		r.ContentLength = int64(v)
	}
	return r, nil
}

// maxNames bounds the header names that a connection remembers.
const maxNames = 64

// canonical returns a header's name as net/http writes it.
func (c *conn) canonical(name string) string {
	if n, ok := c.names[name]; ok {
		return n
	}
	n := http.CanonicalHeaderKey(name)
	if len(c.names) < maxNames && len(name) <= 64 {
		c.names[name] = n
	}
	return n
}

// body is a request's body.
type body stream

func (b *body) Read(p []byte) (int, error) {
	s := (*stream)(b)
	c := s.c
	c.mu.Lock()
	if s.expects && !s.ended {
		s.expects = false
		c.writeHeaders(s.id, http.StatusContinue, nil, false)
	}
	for {
		switch {
		case s.read < len(s.body):
			n := copy(p, s.body[s.read:])
			s.read += n
			c.giveBack(s, n)
			if s.read == len(s.body) && s.ended {
				s.body, s.read = nil, 0
				if s.err == nil {
					c.unlockSend()
					return n, io.EOF
				}
			}
			c.unlockSend()
			return n, nil
		case s.err != nil:
			c.mu.Unlock()
			return 0, io.ErrUnexpectedEOF
		case s.ended:
			c.mu.Unlock()
			return 0, io.EOF
		case s.finished:
			c.mu.Unlock()
			return 0, http.ErrBodyReadAfterClose
		case s.readLate:
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(c.out) > 0 && !c.sending:
			c.unlockSend() // such as 100 Continue
			c.mu.Lock()
		default:
			s.moved.Wait()
		}
	}
}

func (b *body) Close() error { return nil }

// setDeadline arms, or with a zero time disarms, one of a stream's timers.
func (s *stream) setDeadline(t time.Time, timer **time.Timer, late *bool) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	*late = false
	if t.IsZero() {
		return
	}
	*timer = time.AfterFunc(time.Until(t), func() {
		s.c.mu.Lock()
		*late = true
		s.moved.Broadcast()
		s.c.mu.Unlock()
	})
}
