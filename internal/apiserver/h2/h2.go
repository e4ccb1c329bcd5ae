// Package h2 is the server's side of HTTP/2 (RFC 9113), for an API whose
// answers are many and small, or few and very large.
//
// A handler appends the frames of its answer to what its connection has to
// send, under one lock, and whoever finds nobody sending sends it all at once.
// So a small answer costs one encryption and one system call and no switch
// between goroutines; answers that end together share them; and a large one
// goes in pieces as large as TLS and the kernel take.
//
// Frames and HPACK are golang.org/x/net/http2's. Server push, priorities and
// CONNECT are not served.
//
// Invariants: what a peer can make this side hold is bounded, for each
// connection, by the streams, headers and windows of Config; what it makes it
// do without a request that is answered is counted, and too much of it ends
// the connection.
package h2

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config bounds connections. Zero values are the defaults in the comments.
type Config struct {
	// MaxStreams is how many requests one connection may have under way: 1000.
	MaxStreams int
	// MaxHeader bounds a request's headers, in bytes: 128 KiB.
	MaxHeader int
	// Window bounds what a connection holds of request bodies not yet read: 1 MiB.
	Window int
	// IdleTimeout ends a connection without requests: 90 s.
	IdleTimeout time.Duration
	// PingAfter is how long a peer with open requests may be silent until it
	// is asked for a sign of life, and PingTimeout how long it has for one:
	// 30 s and 15 s.
	PingAfter, PingTimeout time.Duration
	Logger                 *slog.Logger
}

// Server serves connections that agreed on "h2".
type Server struct {
	c     Config
	mu    sync.Mutex
	conns map[*conn]struct{}
	ended bool
}

// New returns a Server.
func New(c Config) *Server {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.MaxStreams, 1000)
	set(&c.MaxHeader, 128<<10)
	set(&c.Window, 1<<20)
	wait := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	wait(&c.IdleTimeout, 90*time.Second)
	wait(&c.PingAfter, 30*time.Second)
	wait(&c.PingTimeout, 15*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Server{c: c, conns: map[*conn]struct{}{}}
}

// Mount makes hs serve HTTP/2 through s, and end its connections when it is
// shut down.
func (s *Server) Mount(hs *http.Server) {
	hs.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(hs *http.Server, c *tls.Conn, h http.Handler) {
			ctx := context.WithValue(context.Background(), http.ServerContextKey, hs)
			s.Serve(context.WithValue(ctx, http.LocalAddrContextKey, c.LocalAddr()), c, h)
		},
	}
	hs.RegisterOnShutdown(s.Shutdown)
}

// Serve answers requests on a connection whose handshake is done, until it
// ends. ctx is what the requests' contexts are made of.
func (s *Server) Serve(ctx context.Context, nc net.Conn, h http.Handler) {
	c := newConn(ctx, s, nc, h)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	ended := s.ended
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	if ended {
		c.leave()
	}
	c.serve()
}

// Shutdown asks every peer to make no more requests; a connection ends once
// those under way are answered.
func (s *Server) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.conns {
		go c.leave() // a peer that does not read holds up no other
	}
}
