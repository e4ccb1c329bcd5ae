package h2

import (
	"net"
	"sync"
	"time"
)

// wire is a connection whose large writes go on in the background: while one
// is with the kernel, the records that TLS makes of what follows gather, and
// then go in one system call. A small write on an idle wire goes at once.
//
// Writes come one at a time, as TLS makes them.
type wire struct {
	net.Conn
	mu      sync.Mutex
	moved   sync.Cond // something was written, or failed
	pending []byte
	err     error // of a write in the background; the wire is dead
	busy    bool  // the background goroutine runs
}

const (
	// wireNow is the size up to which a write goes at once.
	wireNow = 8 << 10
	// wireMost bounds what gathers.
	wireMost = 512 << 10
	// wireLinger is how long what has gathered may take to go after Close.
	wireLinger = time.Second
)

var wireBuffers = sync.Pool{New: func() any { return new([]byte) }}

func newWire(c net.Conn) *wire {
	w := &wire{Conn: c}
	w.moved.L = &w.mu
	return w
}

// Write takes p over; an error may be that of an earlier write.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.err == nil && !w.busy && len(p) <= wireNow {
		w.mu.Unlock()
		return w.Conn.Write(p)
	}
	defer w.mu.Unlock()
	for w.err == nil && len(w.pending) > 0 && len(w.pending)+len(p) > wireMost {
		w.moved.Wait()
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.pending == nil {
		w.pending = (*wireBuffers.Get().(*[]byte))[:0]
	}
	w.pending = append(w.pending, p...)
	if !w.busy {
		w.busy = true
		go w.drain()
	}
	return len(p), nil
}

// drain writes until nothing is left.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) > 0 && w.err == nil {
		b := w.pending
		w.pending = nil
		w.mu.Unlock()
		_, err := w.Conn.Write(b)
		wireBuffers.Put(&b)
		w.mu.Lock()
		w.err = err
		w.moved.Broadcast()
	}
	w.pending, w.busy = nil, false
	w.moved.Broadcast()
}

// Close closes the connection once what has gathered is written, or cannot be.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.busy {
		return w.Conn.Close()
	}
	go func() {
		w.Conn.SetWriteDeadline(time.Now().Add(wireLinger))
		w.mu.Lock()
		for w.busy {
			w.moved.Wait()
		}
		w.mu.Unlock()
		w.Conn.Close()
	}()
	return nil
}

// Listener makes the connections of a listener, before TLS, write in the
// background.
func Listener(l net.Listener) net.Listener { return wires{l} }

type wires struct{ net.Listener }

func (l wires) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newWire(c), nil
}
