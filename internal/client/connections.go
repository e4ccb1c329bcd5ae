package client

import (
	"context"
	"net"
	"net/http"
	"sync"

	"k8s.io/client-go/rest"
)

// Connections are those that a configuration's clients hold open.
type Connections struct {
	mu   sync.Mutex
	open map[*tracked]struct{}
}

// Track makes the clients of a configuration that Remote returned remember
// their connections.
func Track(c *rest.Config) *Connections {
	all := &Connections{open: map[*tracked]struct{}{}}
	if t, ok := c.Transport.(*http.Transport); ok {
		dial := t.DialContext
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return all.add(conn), nil
		}
	}
	return all
}

// Close ends all connections, so that what follows is sent over new ones, under
// the newest certificate: a connection keeps that of its beginning.
func (a *Connections) Close() {
	a.mu.Lock()
	all := a.open
	a.open = map[*tracked]struct{}{}
	a.mu.Unlock()
	for t := range all {
		t.Conn.Close()
	}
}

func (a *Connections) add(conn net.Conn) net.Conn {
	t := &tracked{Conn: conn, of: a}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[t] = struct{}{}
	return t
}

type tracked struct {
	net.Conn
	of *Connections
}

func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.open, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}
