// Package http2 serves HTTP/2 (RFC 9113) to the handler of an http.Server.
//
// net/http's own passes each frame through three goroutines and two buffers,
// one record and one system call at a time, which is most of what a list or a
// watch costs. Here whoever answers composes its frames into its connection's
// buffer, and whoever finds nobody writing writes what is there: an answer is
// one record and one system call, answers of the same moment share one, and a
// list leaves in pieces of 256 KiB.
//
// A connection has one goroutine that reads it, and each request one that
// answers it. Frames are parsed by golang.org/x/net/http2, headers by its hpack.
// Push, priorities and upgrades from HTTP/1.1 are not served; CONNECT is refused.
//
// Invariants: frames of a stream leave in the order in which they were
// composed, and headers in that of their compression. The state of streams waits
// for nobody; reading waits for a client that does not read the answers to its
// own control frames, and for no other. What a client may make the server hold
// is bounded: streams, headers, unread bodies, those answers.
package http2

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"clipper/internal/apiserver/wire"

	"golang.org/x/net/http2"
	"k8s.io/utils/clock"
)

// Config bounds what a connection may cost. All fields must be set.
type Config struct {
	// MaxStreams is how many requests a connection may have under way.
	MaxStreams int
	// MaxHeader is how many bytes a request's headers may take (RFC 9113,
	// section 6.5.2: names, values and 32 bytes for each).
	MaxHeader int
	// Idle is how long a connection without requests is kept.
	Idle time.Duration
	// PingAfter is how long a client may be silent before it is asked whether
	// it is there, and PingWithin how long it may take to answer.
	PingAfter, PingWithin time.Duration
	// WriteWithin is how long a client may take to read what is written at once.
	WriteWithin time.Duration

	Clock  clock.WithDelayedExecution
	Logger *slog.Logger // of handlers that panic
}

// Configure lets s, which serves TLS, speak HTTP/2 by this package, and makes
// its Shutdown end such connections in order. It must be called once, before s
// serves. The timeouts and limits of s are for HTTP/1.1 alone.
func Configure(s *http.Server, c Config) {
	srv := newServer(c)
	if s.TLSNextProto == nil {
		s.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	s.TLSNextProto[http2.NextProtoTLS] = func(_ *http.Server, t *tls.Conn, h http.Handler) {
		// net/http gives the connection's context this way.
		base := context.Background()
		if b, ok := h.(interface{ BaseContext() context.Context }); ok {
			base = b.BaseContext()
		}
		state := t.ConnectionState()
		w, _ := t.NetConn().(*wire.Conn)
		srv.serve(base, t, w, &state, h)
	}
	s.RegisterOnShutdown(srv.shutdown)
}

// server is what the connections of an http.Server share.
type server struct {
	Config

	tasks chan task // for goroutines that rest

	mu      sync.Mutex
	conns   map[*conn]struct{}
	over    chan struct{} // closed with the last of them
	ending  bool
	resting int
}

func newServer(c Config) *server {
	return &server{Config: c, tasks: make(chan task), conns: map[*conn]struct{}{}, over: make(chan struct{})}
}

// add tells whether the connection may begin.
func (s *server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending {
		s.conns[c] = struct{}{}
	}
	return !s.ending
}

func (s *server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	if len(s.conns) == 0 {
		close(s.over)
		s.over = make(chan struct{})
	}
	s.mu.Unlock()
}

// shutdown lets every connection finish what it has begun, and end.
func (s *server) shutdown() {
	s.mu.Lock()
	s.ending = true
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.end()
	}
}
