package wire_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"clipper/internal/apiserver/wire"

	testclock "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

// counted counts the writes that reach the other side.
type counted struct {
	net.Conn
	writes chan int
}

func (c counted) Write(p []byte) (int, error) {
	c.writes <- len(p)
	return c.Conn.Write(p)
}

// one is a listener of one connection.
type one struct{ net.Conn }

func (l one) Accept() (net.Conn, error) { return l.Conn, nil }
func (l one) Addr() net.Addr            { return l.LocalAddr() }

// pair returns a connection's two sides, the sizes of what is written to it, and
// its clock, which stands still.
func pair(t testing.TB) (*wire.Conn, net.Conn, chan int, *testclock.FakeClock) {
	t.Helper()
	clk := testclock.NewFakeClock(time.Now())
	a, b := net.Pipe()
	writes := make(chan int, 10_000)
	c, err := wire.Listen(one{counted{a, writes}}, clk).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		b.Close()
	})
	return c.(*wire.Conn), b, writes, clk
}

func TestAnnouncedBytesLeaveTogether(t *testing.T) {
	c, far, writes, _ := pair(t)
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(far)
		got <- b
	}()
	var sent []byte
	write := func(n int) {
		t.Helper()
		p := bytes.Repeat([]byte{byte(len(sent))}, n)
		if k, err := c.Write(p); k != n || err != nil {
			t.Fatal(k, err)
		}
		sent = append(sent, p...)
	}
	write(10) // nothing was announced
	c.Expect(40_000)
	for range 4 {
		write(4096)
		write(12_300) // a frame of HTTP/2
	}
	write(10)
	c.Expect(200)
	write(4096) // more than was announced
	write(150)
	c.ExpectAnswer(200)
	write(40)
	write(231)
	c.Close()
	if b := <-got; !bytes.Equal(b, sent) {
		t.Errorf("%d bytes came, and not the %d that were written", len(b), len(sent))
	}
	close(writes)
	var sizes []int
	for n := range writes {
		sizes = append(sizes, n)
	}
	want := []int{10, 3 * 16396, 4096, 12_300, 10, 4096, 150, 271}
	if len(sizes) != len(want) {
		t.Fatalf("written as %v, not %v", sizes, want)
	}
	for i := range want {
		if sizes[i] != want[i] {
			t.Fatalf("written as %v, not %v", sizes, want)
		}
	}
}

// TestHeldBytesLeave though what was announced never comes.
func TestHeldBytesLeave(t *testing.T) {
	c, far, _, clk := pair(t)
	c.Expect(1 << 20)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	go clk.Step(time.Second) // which writes, to who reads
	b := make([]byte, 5)
	if _, err := io.ReadFull(far, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q %v", b, err)
	}
}

// TestErrors of a write that was gathered are told at a later one.
func TestErrors(t *testing.T) {
	c, far, _, _ := pair(t)
	c.Expect(8000)
	if _, err := c.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	far.Close()
	c.Expect(0)
	for range 2 {
		if _, err := c.Write(make([]byte, 8000)); err == nil {
			t.Error("nobody is there, and nothing is said")
		}
	}
}

func TestOrderIsKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, far, _, _ := pair(t)
		got := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(far)
			got <- b
		}()
		var sent []byte
		left := 0
		for i := range rapid.IntRange(1, 40).Draw(rt, "writes") {
			if left <= 0 && rapid.Bool().Draw(rt, "announce") {
				left = rapid.IntRange(1, 300_000).Draw(rt, "expect")
				c.Expect(left)
			}
			p := bytes.Repeat([]byte{byte(i)}, rapid.SampledFrom([]int{1, 9, 4096, 12_300, 20_000, 100_000}).Draw(rt, "size"))
			if _, err := c.Write(p); err != nil {
				rt.Fatal(err)
			}
			sent = append(sent, p...)
			left -= len(p)
		}
		// All that was announced comes, as an answer does.
		for ; left > 0; left -= 5000 {
			p := make([]byte, 5000)
			if _, err := c.Write(p); err != nil {
				rt.Fatal(err)
			}
			sent = append(sent, p...)
		}
		c.Close()
		if b := <-got; !bytes.Equal(b, sent) {
			rt.Fatalf("%d bytes came, and not the %d that were written", len(b), len(sent))
		}
	})
}

func TestContext(t *testing.T) {
	c, far, _, _ := pair(t)
	if wire.Of(wire.Context(t.Context(), c)) != c {
		t.Error("the connection of a request is not found")
	}
	if wire.Of(wire.Context(t.Context(), far)) != nil || wire.Of(context.Background()) != nil {
		t.Error("a connection is found where none is")
	}
	wire.Of(context.Background()).Expect(1 << 20) // does nothing
}
