package http2

import (
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

var errOver = errors.New("http2: the answer is over")

// response is an http.ResponseWriter; http.ResponseController finds what else
// it can do. Headers are composed with the first bytes that leave, so it is
// until then that a handler can change them.
type response struct {
	st   *stream
	head bool // the request was a HEAD
	done bool // the handler returned

	header   http.Header
	code     int
	declared int64 // the body's length by its header; -1 if there is none
	written  int64
	trailers []string // names of those that were announced
	due      bool     // the headers have not been composed
	ended    bool     // the end has been composed
	body     chunk    // what was not composed of the body
	err      error
}

func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

// bodiless tells whether an answer has no body by its status.
func bodiless(code int) bool {
	return code < 200 || code == http.StatusNoContent || code == http.StatusNotModified
}

func (w *response) WriteHeader(code int) {
	if w.code != 0 {
		return
	}
	if code < 100 || code > 999 {
		panic("http2: no such status: " + strconv.Itoa(code))
	}
	h := w.Header()
	if code < 200 {
		// One before the last: what is in the headers now goes with it.
		if code != http.StatusSwitchingProtocols {
			w.fail(w.st.c.out.informational(w.st.id, code, h))
		}
		return
	}
	w.code, w.due, w.declared = code, true, -1
	if l := h["Content-Length"]; len(l) > 0 {
		if n, err := strconv.ParseInt(l[0], 10, 64); err == nil && n >= 0 {
			w.declared = n
		} else {
			delete(h, "Content-Length")
		}
	}
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); httpguts.ValidTrailerHeader(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
}

func (w *response) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *response) Write(p []byte) (int, error) { return w.write(p, "") }

// WriteString is Write.
func (w *response) WriteString(s string) (int, error) { return w.write(nil, s) }

func (w *response) write(p []byte, s string) (int, error) {
	if w.code == 0 {
		w.sniff(p, s)
		w.WriteHeader(http.StatusOK)
	}
	n := len(p) + len(s)
	switch {
	case w.err != nil:
		return 0, w.err
	case w.done, w.ended && n > 0:
		return 0, errOver
	case n == 0:
		return 0, nil
	case bodiless(w.code):
		return 0, http.ErrBodyNotAllowed
	}
	w.written += int64(n)
	if w.declared >= 0 && w.written > w.declared {
		return 0, http.ErrContentLength
	}
	if w.head {
		return n, nil
	}
	if s != "" {
		p = []byte(s)
	}
	for {
		p = p[w.body.add(p):]
		all := len(p) == 0 && w.written == w.declared && len(w.trailers) == 0
		if len(p) == 0 && !all {
			return n, nil // more of it, its end or a Flush comes
		}
		if w.send(all); w.err != nil {
			return 0, w.err
		}
		if all {
			return n, nil
		}
	}
}

// sniff names the type of a body whose handler did not.
func (w *response) sniff(p []byte, s string) {
	h := w.Header()
	if _, ok := h["Content-Type"]; ok || h.Get("Content-Encoding") != "" {
		return
	}
	if s != "" {
		p = []byte(s[:min(len(s), 512)])
	}
	if len(p) > 0 {
		h["Content-Type"] = []string{http.DetectContentType(p)}
	}
}

func (w *response) send(end bool) { w.fail(w.st.send(w, end)) }

// FlushError lets what was written leave.
func (w *response) FlushError() error {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err == nil && (w.due || w.body.size() > 0) {
		w.send(false)
	}
	return w.err
}

// Flush is FlushError, as an http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// SetReadDeadline bounds the reading of the request's body.
func (w *response) SetReadDeadline(t time.Time) error {
	st := w.st
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if !st.received { // otherwise there is nothing to wait for
		st.reading.set(st.c, t, st.wake)
	}
	return nil
}

// EnableFullDuplex is so in HTTP/2.
func (w *response) EnableFullDuplex() error { return nil }

// finish sends the rest of the answer, after the handler.
func (w *response) finish() {
	defer w.body.free()
	if !w.done {
		if why := recover(); why != nil && why != http.ErrAbortHandler {
			w.st.c.logf("http2: panic serving %v: %v\n%s", w.st.c.remote, why, debug.Stack())
		}
		w.abort(http2.ErrCodeInternal)
		return
	}
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.due && w.declared < 0 && len(w.trailers) == 0 && !bodiless(w.code) && (!w.head || w.written > 0) {
		w.declared = w.written
		w.header["Content-Length"] = []string{strconv.FormatInt(w.written, 10)}
	}
	if w.err == nil && !w.ended {
		if w.declared > w.written && !w.head && !bodiless(w.code) {
			w.abort(http2.ErrCodeInternal) // less came than was promised
			return
		}
		w.send(true)
	}
	w.st.close()
}

func (w *response) abort(code http2.ErrCode) {
	w.st.c.resetStream(w.st.id, code)
	w.st.close()
}

// close ends what the stream still has: an answer that is whole leaves nothing
// of its request to be sent.
func (st *stream) close() {
	c := st.c
	c.mu.Lock()
	st.reading.unset()
	open := st.ended == nil && !st.received
	c.discard(st)
	c.mu.Unlock()
	if open {
		c.resetStream(st.id, http2.ErrCodeNo)
	}
}
