package wire_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"clipper/internal/apiserver/wire"

	"pgregory.net/rapid"
)

// counted tells the sizes of the writes that reach the other side.
type counted struct {
	net.Conn
	writes chan int
}

func (c counted) Write(p []byte) (int, error) {
	c.writes <- len(p)
	return c.Conn.Write(p)
}

// one is a listener of one connection.
type one struct {
	net.Conn
	err error
}

func (l one) Accept() (net.Conn, error) { return l.Conn, l.err }
func (l one) Addr() net.Addr            { return l.LocalAddr() }

func pair(t interface {
	Fatal(...any)
	Cleanup(func())
}) (*wire.Conn, net.Conn, chan int) {
	a, b := net.Pipe()
	writes := make(chan int, 10_000)
	c, err := wire.Listen(one{Conn: counted{a, writes}}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		b.Close()
	})
	return c.(*wire.Conn), b, writes
}

// rest reads all that comes.
func rest(c net.Conn) chan []byte {
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(c)
		got <- b
	}()
	return got
}

func TestHeldBytesLeaveTogether(t *testing.T) {
	c, far, writes := pair(t)
	got := rest(far)
	var sent []byte
	write := func(n int) {
		t.Helper()
		p := bytes.Repeat([]byte{byte(len(sent))}, n)
		if k, err := c.Write(p); k != n || err != nil {
			t.Fatal(k, err)
		}
		sent = append(sent, p...)
	}
	write(10) // is not held
	c.Hold()
	for range 19 {
		write(16_406) // a record: the 18th makes it 288 KiB
	}
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	write(20) // no longer is
	c.Hold()
	if err := c.Release(); err != nil { // nothing
		t.Fatal(err)
	}
	c.Hold()
	write(7)
	write(400_000) // more than can be held
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if b := <-got; !bytes.Equal(b, sent) {
		t.Errorf("%d bytes came, and not the %d that were written", len(b), len(sent))
	}
	close(writes)
	var sizes []int
	for n := range writes {
		sizes = append(sizes, n)
	}
	if want := []int{10, 18 * 16_406, 16_406, 20, 7, 400_000}; !slices.Equal(sizes, want) {
		t.Errorf("written as %v, not %v", sizes, want)
	}
}

// TestErrors of what was held are told, at the release at the latest.
func TestErrors(t *testing.T) {
	c, far, _ := pair(t)
	c.Hold()
	if _, err := c.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	far.Close()
	if err := c.Release(); err == nil {
		t.Error("nobody is there, and Release says nothing")
	}
	c.Hold()
	if n, err := c.Write(make([]byte, 100)); n != 0 || err == nil {
		t.Error("after an error, Write says", n, err)
	}
	if err := c.Release(); err == nil {
		t.Error("Release forgets")
	}
	if _, err := c.Write(make([]byte, 1)); err == nil {
		t.Error("nobody is there, and Write says nothing")
	}
}

func TestErrorOfWriteWhileHeld(t *testing.T) {
	c, far, _ := pair(t)
	far.Close()
	c.Hold()
	if _, err := c.Write(make([]byte, 300_000)); err == nil {
		t.Error("288 KiB were written to nobody, and Write says nothing")
	}
	if err := c.Release(); err == nil {
		t.Error("Release says nothing")
	}
}

func TestAcceptErrors(t *testing.T) {
	want := errors.New("no more")
	if _, err := wire.Listen(one{err: want}).Accept(); err != want {
		t.Error(err)
	}
}

// TestOrder of what is written by chance, held or not, is kept.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, far, _ := pair(rt)
		got := rest(far)
		var sent []byte
		held := false
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				n := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 90_000)).Draw(rt, "n")
				p := bytes.Repeat([]byte{byte(len(sent) * 7)}, n)
				if k, err := c.Write(p); k != n || err != nil {
					rt.Fatal(k, err)
				}
				sent = append(sent, p...)
			},
			"turn": func(rt *rapid.T) {
				if held = !held; held {
					c.Hold()
				} else if err := c.Release(); err != nil {
					rt.Fatal(err)
				}
			},
		})
		if held {
			if err := c.Release(); err != nil {
				rt.Fatal(err)
			}
		}
		c.Close()
		if b := <-got; !bytes.Equal(b, sent) {
			rt.Fatalf("%d bytes came, and not the %d that were written", len(b), len(sent))
		}
	})
}

// TestUnderTLS its record's layer still finds the connection.
func TestUnderTLS(t *testing.T) {
	c, _, _ := pair(t)
	if got := tls.Server(c, &tls.Config{}).NetConn(); got != net.Conn(c) {
		t.Errorf("%T", got)
	}
}
