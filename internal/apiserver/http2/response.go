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
	"golang.org/x/net/http2/hpack"
)

var errOver = errors.New("http2: the answer is over")

// response is an http.ResponseWriter; http.ResponseController finds what else
// it can do. Headers leave with the first bytes, as they were at WriteHeader.
type response struct {
	st   *stream
	head bool // the request was a HEAD
	done bool // the handler returned

	header   http.Header
	code     int
	fields   []hpack.HeaderField // the headers that leave
	room     [8]hpack.HeaderField
	typed    bool  // Content-Type is among them, or must not be
	dated    bool  // so is Date
	declared int64 // the body's length by its header; -1 if there is none
	written  int64
	trailers []string // names of those that were announced
	due      bool     // the headers have not been composed
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
	if w.code == 0 && !w.done {
		w.begin(code)
	}
}

// begin is WriteHeader, for the first time.
func (w *response) begin(code int) {
	if code < 100 || code > 999 {
		panic("http2: no such status: " + strconv.Itoa(code))
	}
	if code < 200 {
		// One before the last: what is in the headers now goes with it.
		if code != http.StatusSwitchingProtocols {
			w.fail(w.st.c.out.informational(w.st, code, w.header))
		}
		return
	}
	h := w.header
	w.code, w.due, w.declared = code, true, -1
	_, w.typed = h["Content-Type"]
	_, w.dated = h["Date"]
	w.typed = w.typed || h.Get("Content-Encoding") != ""
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); httpguts.ValidTrailerHeader(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
	w.fields = appendFields(w.room[:0], h, w.trailers)
	if l := h["Content-Length"]; len(l) > 0 {
		// RFC 9110, 8.6: 204 has none.
		if n, err := strconv.ParseUint(l[0], 10, 63); err == nil && code != http.StatusNoContent {
			w.declared = int64(n)
			w.add("Content-Length", l[0])
		}
	}
	if h.Get("Connection") == "close" {
		w.st.c.end() // what HTTP/1.1 would do
	}
}

func (w *response) add(name, value string) {
	w.fields = append(w.fields, hpack.HeaderField{Name: name, Value: value})
}

func (w *response) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *response) Write(p []byte) (int, error) { return write(w, p) }

// WriteString is Write.
func (w *response) WriteString(s string) (int, error) { return write(w, s) }

func write[T []byte | string](w *response, p T) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n := len(p)
	switch {
	case w.done:
		return 0, errOver
	case w.err != nil:
		return 0, w.err
	case n == 0:
		return 0, nil
	case bodiless(w.code):
		return 0, http.ErrBodyNotAllowed
	case w.declared >= 0 && w.written+int64(n) > w.declared:
		return 0, http.ErrContentLength
	}
	if w.due && !w.typed {
		w.typed = true
		w.add("Content-Type", http.DetectContentType([]byte(p[:min(n, 512)])))
	}
	w.written += int64(n)
	if w.head {
		return n, nil
	}
	for {
		// The rest waits for more, the answer's end, or a Flush.
		if p = p[add(&w.body, p):]; len(p) == 0 {
			return n, nil
		}
		if w.send(false); w.err != nil {
			return 0, w.err
		}
	}
}

func (w *response) send(end bool) { w.fail(w.st.send(w, end)) }

// FlushError lets what was written leave.
func (w *response) FlushError() error {
	if w.done {
		return errOver
	}
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
	w.st.setDeadline(&w.st.reading, t)
	return nil
}

// SetWriteDeadline bounds how long the answer waits for the client's windows.
// One that is late is broken.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.st.setDeadline(&w.st.writing, t)
	return nil
}

// EnableFullDuplex is so in HTTP/2.
func (w *response) EnableFullDuplex() error { return nil }

// finish sends the rest of the answer, after the handler.
func (w *response) finish() {
	defer w.body.free()
	if !w.done {
		if why := recover(); why != nil && why != http.ErrAbortHandler {
			w.st.c.Logger.Error("a handler panicked", "client", w.st.c.remote, "panic", why, "stack", string(debug.Stack()))
		}
		w.st.end(http2.ErrCodeInternal)
		return
	}
	if w.code == 0 {
		w.begin(http.StatusOK)
	}
	if w.due && w.declared < 0 && len(w.trailers) == 0 && !bodiless(w.code) && (!w.head || w.written > 0) {
		w.declared = w.written
		w.add("Content-Length", strconv.FormatInt(w.written, 10))
	}
	if w.declared > w.written && !w.head && !bodiless(w.code) {
		w.fail(http.ErrContentLength) // less came than was promised
	}
	if w.err == nil {
		w.send(true)
	}
	code := http2.ErrCodeNo
	if w.err != nil {
		code = http2.ErrCodeInternal
	}
	w.st.end(code)
}

// trailer returns the headers that follow the body, or none.
func (w *response) trailer() []hpack.HeaderField {
	var t []hpack.HeaderField
	add := func(name string, values []string) {
		for _, v := range values {
			t = append(t, hpack.HeaderField{Name: name, Value: v})
		}
	}
	for _, name := range w.trailers {
		add(name, w.header[name])
	}
	for name, v := range w.header {
		if after, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			if after = http.CanonicalHeaderKey(after); httpguts.ValidTrailerHeader(after) {
				add(after, v)
			}
		}
	}
	return t
}
