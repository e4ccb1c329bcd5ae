package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"clipper/internal/auth"

	"k8s.io/apiserver/pkg/authentication/user"
)

// transport is a RoundTripper that calls the API server's handler.
//
// A request with one whole answer runs on the caller's goroutine, and its body
// is in memory when RoundTrip returns. One that streams runs on a goroutine of
// its own until its body is closed, its context ends or the handler is done.
type transport struct {
	handler  http.Handler
	user     user.Info
	requests *Requests // nil counts none
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := auth.WithUser(r.Context(), t.user)
	began := t.began()
	if streams(r) {
		res, err := t.stream(ctx, r)
		if err != nil {
			t.count(r, began, 0, -1)
			return nil, err
		}
		t.count(r, began, res.StatusCode, -1)
		return res, nil
	}
	w := &whole{answer: answer{header: http.Header{}}}
	w.body = buffers.Get().(*buffer)
	if err := t.serve(ctx, w, r); err != nil {
		w.body.Close()
		t.count(r, began, 0, -1)
		return nil, err
	}
	w.WriteHeader(http.StatusOK)
	t.count(r, began, w.status, int64(len(w.body.data)))
	return w.response(r, w.body, int64(len(w.body.data))), nil
}

// began is the time for count, if it is wanted.
func (t *transport) began() (now time.Time) {
	if t.requests != nil {
		now = t.requests.clock.Now()
	}
	return now
}

func (t *transport) count(r *http.Request, began time.Time, code int, size int64) {
	if t.requests != nil {
		t.requests.answered(r, began, code, size)
	}
}

// streams tells whether the answer may go on for as long as the caller reads.
func streams(r *http.Request) bool {
	if strings.HasSuffix(r.URL.Path, "/proxy") || strings.Contains(r.URL.Path, "/proxy/") {
		return true
	}
	raw := r.URL.RawQuery
	if !strings.Contains(raw, "watch=") && !strings.Contains(raw, "follow=") {
		return false
	}
	q := r.URL.Query()
	return truth(q.Get("watch")) || truth(q.Get("follow"))
}

func truth(s string) bool { return s == "true" || s == "1" }

// serve hands the handler a request of its own, as a server would: the
// caller's stays as it is.
func (t *transport) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	if r.Body != nil {
		defer r.Body.Close()
	}
	in := *r
	in.Header = r.Header.Clone()
	return t.call(ctx, w, &in)
}

// call hands the handler a request that nobody else needs.
func (t *transport) call(ctx context.Context, w http.ResponseWriter, r *http.Request) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	in := r.WithContext(ctx)
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "in-process"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/2.0", 2, 0
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF
		default:
			panic(p)
		}
	}()
	t.handler.ServeHTTP(w, in)
	return ctx.Err()
}

// answer is the head of a response.
type answer struct {
	header http.Header
	sent   http.Header // as it was when the status was written
	status int
}

func (a *answer) Header() http.Header { return a.header }

// begin takes the status and the headers; only the first call counts, and
// informational ones do not.
func (a *answer) begin(status int) bool {
	if a.status != 0 || status < 200 {
		return false
	}
	a.status, a.sent = status, a.header
	return true
}

func (a *answer) response(r *http.Request, body io.ReadCloser, length int64) *http.Response {
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: a.sent, Body: body, ContentLength: length, Request: r,
	}
}

// whole gathers an answer in memory.
type whole struct {
	answer
	body *buffer
}

func (w *whole) WriteHeader(status int) { w.begin(status) }

func (w *whole) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	w.body.data = append(w.body.data, p...)
	return len(p), nil
}

// Flush does nothing: the caller sees the answer when it is whole.
func (w *whole) Flush() { w.begin(http.StatusOK) }

// buffer is a body in memory. Closing it gives the memory back.
type buffer struct {
	data []byte
	read int
}

var buffers = sync.Pool{New: func() any { return &buffer{} }}

// keepMost bounds the buffers that are kept for later, in bytes.
const keepMost = 64 << 10

func (b *buffer) Read(p []byte) (int, error) {
	if b.read == len(b.data) {
		return 0, io.EOF
	}
	n := copy(p, b.data[b.read:])
	b.read += n
	return n, nil
}

func (b *buffer) Close() error {
	if cap(b.data) <= keepMost {
		buffers.Put(&buffer{data: b.data[:0]})
	}
	// Whoever still reads finds the end, and nobody else's answer.
	b.data, b.read = nil, 0
	return nil
}

// stream runs the handler until it is done or the body is closed, and returns
// as soon as the head of the answer is there.
func (t *transport) stream(ctx context.Context, r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &streamed{
		answer: answer{header: http.Header{}},
		began:  make(chan struct{}),
		body:   newPipe(cancel),
	}
	stop := context.AfterFunc(ctx, func() { w.body.fail(context.Cause(ctx)) })
	go func() {
		err := t.serve(ctx, w, r)
		if err == nil {
			w.WriteHeader(http.StatusOK)
			err = io.EOF
		}
		stop()
		w.body.fail(err)
		cancel(err)
	}()
	select {
	case <-w.began:
		return w.response(r, w.body, -1), nil
	case <-w.body.done:
		// Both may have come true: an answer that began is an answer.
		select {
		case <-w.began:
			return w.response(r, w.body, -1), nil
		default:
			return nil, w.body.reason()
		}
	}
}

// streamed passes an answer on as it is written.
type streamed struct {
	answer
	began chan struct{}
	body  *pipe
}

func (w *streamed) WriteHeader(status int) {
	if w.begin(status) {
		// The handler may go on to change its headers, as trailers.
		w.sent = w.header.Clone()
		close(w.began)
	}
}

func (w *streamed) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.write(p)
}

func (w *streamed) Flush() { w.WriteHeader(http.StatusOK) }

// pipeMost is how far the writer of a pipe may be ahead of the reader, in bytes.
const pipeMost = 256 << 10

var errClosed = errors.New("response body closed")

// pipe is a bounded buffer between the handler and the reader of its answer,
// so that many small events cost few changes of goroutine.
type pipe struct {
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu      sync.Mutex
	changed sync.Cond
	data    []byte
	read    int
	err     error
}

func newPipe(cancel context.CancelCauseFunc) *pipe {
	p := &pipe{cancel: cancel, done: make(chan struct{})}
	p.changed.L = &p.mu
	return p
}

func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && len(p.data)-p.read >= pipeMost {
		p.changed.Wait()
	}
	if p.err != nil {
		return 0, p.err
	}
	if p.read > 0 && len(p.data)+len(b) > cap(p.data) {
		p.data = append(p.data[:0], p.data[p.read:]...)
		p.read = 0
	}
	p.data = append(p.data, b...)
	p.changed.Broadcast()
	return len(b), nil
}

// Read returns what has been written, and only then why there is no more.
func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.read == len(p.data) && p.err == nil {
		p.changed.Wait()
	}
	if p.read == len(p.data) {
		return 0, p.err
	}
	full := len(p.data)-p.read >= pipeMost
	n := copy(b, p.data[p.read:])
	if p.read += n; p.read == len(p.data) {
		p.read = 0
		if p.data = p.data[:0]; cap(p.data) > keepMost {
			p.data = nil
		}
	}
	if full {
		p.changed.Broadcast()
	}
	return n, nil
}

// Close ends the request that writes here.
func (p *pipe) Close() error {
	p.fail(errClosed)
	p.cancel(errClosed)
	return nil
}

// fail sets why there is no more; only the first reason counts.
func (p *pipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	if p.err = err; errors.Is(err, errClosed) {
		p.data, p.read = nil, 0
	}
	close(p.done)
	p.changed.Broadcast()
}

func (p *pipe) reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
