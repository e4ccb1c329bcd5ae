package h2

import (
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// response is the answer to one request. One goroutine writes it.
type response struct {
	s       *stream
	request *http.Request
	header  http.Header
	status  int
	begun   bool  // the headers are in what is to be sent
	ended   bool  // the end of the stream too
	left    int64 // of the declared length; -1 if none was
	hushed  bool  // HEAD, 204 and 304 have no body
}

// run answers.
func (w *response) run(h http.Handler) {
	defer w.end()
	h.ServeHTTP(w, w.request)
}

// end completes the answer, or cuts it off if the handler panicked.
func (w *response) end() {
	s, c := w.s, w.s.c
	p := recover()
	if p != nil && p != http.ErrAbortHandler {
		c.server.c.Logger.Error("handler panicked", "path", w.request.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	s.cancel()
	c.mu.Lock()
	if p == nil && s.err == nil {
		if !w.begun {
			w.begin(0, true)
		}
		if w.left > 0 {
			p = http.ErrContentLength // a short answer must not pass for a whole one
		} else if !w.ended {
			w.finish()
		}
	}
	for _, t := range []*time.Timer{s.readBy, s.writeBy} {
		if t != nil {
			t.Stop()
		}
	}
	s.finished = true
	c.running--
	if s.err == nil {
		c.bother = max(0, c.bother-10) // a request that was answered
		switch {
		case p != nil:
			c.reset(s.id, http2.ErrCodeInternal)
		case s.ended:
			c.forget(s)
		default:
			// The rest of the request is not wanted.
			c.reset(s.id, http2.ErrCodeNo)
		}
	}
	leaving := c.leaving
	c.unlockSend()
	if leaving {
		c.endIfQuiet()
	}
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader takes the status; the headers go with the first of the body.
func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid status %d", status))
	}
	if status < 200 {
		c := w.s.c
		c.mu.Lock()
		if w.s.err == nil {
			c.writeHeaders(w.s.id, status, w.header, false)
		}
		c.unlockSend()
		return
	}
	w.status = status
	// Later changes of the header do not count.
	w.left = -1
	if v := w.header["Content-Length"]; len(v) == 1 {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
			w.left = n
		} else {
			delete(w.header, "Content-Length")
		}
	}
	w.hushed = w.request.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	if w.hushed {
		w.left = -1
	}
}

// begin appends the headers; size is what of the body is known to follow at
// once. mu is held.
func (w *response) begin(size int, last bool) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.begun = true
	end := w.hushed || last && size == 0 && !w.hasTrailers()
	w.s.c.writeHeaders(w.s.id, w.status, w.header, end)
	w.ended = end
}

// Write sends a part of the body, waiting for the peer's windows. What it
// appended last may stay for Flush, the next Write or the end to send.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.hushed {
		return len(p), nil
	}
	if w.left >= 0 {
		if int64(len(p)) > w.left {
			return 0, http.ErrContentLength
		}
		w.left -= int64(len(p))
	}
	s, c := w.s, w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if !w.begun {
		w.begin(len(p), false)
	}
	sent := 0
	for sent < len(p) {
		n, err := w.room(len(p) - sent)
		if err != nil {
			return sent, err
		}
		c.reserve(n + 9)
		var flags http2.Flags
		if w.left == 0 && sent+n == len(p) && !w.hasTrailers() {
			flags, w.ended = http2.FlagDataEndStream, true
		}
		c.out = appendHeader(c.out, n, http2.FrameData, flags, s.id)
		c.out = append(c.out, p[sent:sent+n]...)
		s.window -= int64(n)
		c.window -= int64(n)
		sent += n
	}
	if len(c.out) >= outMost/2 && !c.sending {
		c.unlockSend()
		c.mu.Lock()
	}
	return sent, nil
}

// room waits until something may be sent, and returns how much, of want at
// most. mu is held.
func (w *response) room(want int) (int, error) {
	s, c := w.s, w.s.c
	for {
		switch {
		case s.err != nil:
			return 0, s.err
		case c.err != nil:
			return 0, c.err
		case s.writeLate:
			return 0, os.ErrDeadlineExceeded
		case len(c.out) >= outMost:
			if c.sending {
				c.sent.Wait()
			} else {
				c.unlockSend()
				c.mu.Lock()
			}
		case s.window > 0 && c.window > 0:
			return int(min(int64(want), s.window, c.window, int64(c.frame))), nil
		case len(c.out) > 0 && !c.sending:
			c.unlockSend() // the peer cannot open its window for what it has not got
			c.mu.Lock()
		default:
			c.blocked++
			s.moved.Wait()
			c.blocked--
		}
	}
}

// Flush sends what was written.
func (w *response) Flush() {
	c := w.s.c
	c.mu.Lock()
	if !w.begun && w.s.err == nil {
		w.begin(0, false)
	}
	c.unlockSend()
}

// FlushError is Flush for http.ResponseController.
func (w *response) FlushError() error {
	w.Flush()
	w.s.c.mu.Lock()
	defer w.s.c.mu.Unlock()
	return w.s.err
}

// SetReadDeadline bounds the reading of the request's body.
func (w *response) SetReadDeadline(t time.Time) error {
	w.s.setDeadline(t, &w.s.readBy, &w.s.readLate)
	return nil
}

// SetWriteDeadline bounds waiting for the peer to take the answer.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.s.setDeadline(t, &w.s.writeBy, &w.s.writeLate)
	return nil
}

// finish appends the end of the stream, after trailers if there are any; mu is
// held.
func (w *response) finish() {
	c := w.s.c
	if t := w.trailers(); len(t) > 0 {
		c.writeHeaders(w.s.id, 0, t, true)
	} else {
		c.out = appendHeader(c.out, 0, http2.FrameData, http2.FlagDataEndStream, w.s.id)
	}
	w.ended = true
}

func (w *response) hasTrailers() bool {
	if len(w.header["Trailer"]) > 0 {
		return true
	}
	for k := range w.header {
		if strings.HasPrefix(k, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// trailers returns the headers that come after the body: those announced in
// "Trailer" and those with the prefix that net/http has for it.
func (w *response) trailers() http.Header {
	var t http.Header
	add := func(k string, v []string) {
		if t == nil {
			t = http.Header{}
		}
		t[http.CanonicalHeaderKey(k)] = v
	}
	for _, list := range w.header["Trailer"] {
		for _, k := range strings.Split(list, ",") {
			k = http.CanonicalHeaderKey(strings.TrimSpace(k))
			if v := w.header[k]; len(v) > 0 && httpguts.ValidTrailerHeader(k) {
				add(k, v)
			}
		}
	}
	for k, v := range w.header {
		if name, ok := strings.CutPrefix(k, http.TrailerPrefix); ok && httpguts.ValidTrailerHeader(name) {
			add(name, v)
		}
	}
	return t
}

// writeHeaders appends a block of headers; a status of 0 is none (trailers).
// mu is held: the order of blocks is part of their compression.
func (c *conn) writeHeaders(id uint32, status int, h http.Header, end bool) {
	c.hbuf.Reset()
	if status != 0 {
		c.henc.WriteField(hpack.HeaderField{Name: ":status", Value: statusText(status)})
	}
	for k, vs := range h {
		name := lower(k)
		switch name {
		case "connection", "proxy-connection", "transfer-encoding", "upgrade", "keep-alive":
			continue
		}
		if status != 0 && strings.HasPrefix(k, http.TrailerPrefix) || !httpguts.ValidHeaderFieldName(name) {
			continue
		}
		for _, v := range vs {
			if !httpguts.ValidHeaderFieldValue(v) {
				continue
			}
			// What is different each time would only push out the rest.
			once := name == "content-length" || name == "audit-id"
			c.henc.WriteField(hpack.HeaderField{Name: name, Value: v, Sensitive: once || name == "set-cookie"})
		}
	}
	if status >= 200 {
		if _, ok := h["Date"]; !ok {
			c.henc.WriteField(hpack.HeaderField{Name: "date", Value: date()})
		}
	}
	block := c.hbuf.Bytes()
	t, flags := http2.FrameHeaders, http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for {
		n := min(len(block), c.frame)
		part := block[:n]
		if block = block[n:]; len(block) == 0 {
			flags |= http2.FlagHeadersEndHeaders
		}
		c.out = appendHeader(c.out, n, t, flags, id)
		c.out = append(c.out, part...)
		if len(block) == 0 {
			return
		}
		t, flags = http2.FrameContinuation, 0
	}
}

func statusText(status int) string {
	switch status {
	case http.StatusOK:
		return "200"
	case http.StatusCreated:
		return "201"
	case http.StatusNotFound:
		return "404"
	case http.StatusConflict:
		return "409"
	}
	return strconv.Itoa(status)
}

// lower returns a header's name as HTTP/2 writes it.
func lower(k string) string {
	switch k {
	case "Content-Type":
		return "content-type"
	case "Content-Length":
		return "content-length"
	case "Cache-Control":
		return "cache-control"
	}
	return strings.ToLower(k)
}

type dated struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dated]

// date returns the value of the Date header, made once a second.
func date() string {
	now := time.Now()
	if d := lastDate.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
