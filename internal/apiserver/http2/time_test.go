package http2

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// timed is what connections may take in these tests, of a clock of their own.
func timed() (Config, stepped) {
	c, clk := config(), newClock()
	c.Idle, c.PingAfter, c.PingWithin, c.WriteWithin = 90*time.Second, 30*time.Second, 15*time.Second, time.Minute
	c.Clock = clk
	return c, clk
}

func TestIdle(t *testing.T) {
	c, clk := timed()
	p := dial(t, c, answers())
	p.play("> get 1 /\n< headers 1 end 200 content-length=0\n> ping\n< pong")
	p.settled(0)
	for range 2 { // the first 60 seconds
		clk.tick()
		p.play("< ping\n> pong\n> ping\n< pong")
		if d := <-clk.armed; d != 15*time.Second { // the ping's end
			t.Fatal(d)
		}
		clk.armed <- 15 * time.Second
		clk.tick()
		if d := <-clk.armed; d > 30*time.Second {
			t.Fatal(d)
		}
		clk.armed <- 15 * time.Second
	}
	clk.tick()
	p.want("goaway 1 NO_ERROR", "closed")
}

// TestBusyIsNotIdle though it takes long.
func TestBusyIsNotIdle(t *testing.T) {
	c, clk := timed()
	c.PingAfter = time.Hour
	p := dial(t, c, answers())
	p.play("> post 1 /read\n> ping\n< pong")
	if d := <-clk.armed; d != c.Idle && d != c.WriteWithin { // the greeting was being written
		t.Fatal(d)
	}
	p.settled(1)
	clk.Step(c.Idle)
	if d := <-clk.armed; d != c.PingAfter-c.Idle && d != c.PingAfter {
		t.Fatal(d)
	}
	p.play("> data 1 end ab\n< headers 1 200 content-length=7\n< data 1 end 2 <nil>\n> ping\n< pong")
}

func TestPing(t *testing.T) {
	c, clk := timed()
	p := dial(t, c, answers())
	p.play("> get 1 /wait\n> ping\n< pong")
	clk.tick()
	p.want("ping")
	p.play("> pong\n> ping\n< pong")
	clk.tick() // it has answered
	clk.tick()
	p.want("ping") // and is asked anew
	if d := <-clk.armed; d != 15*time.Second {
		t.Fatal(d)
	}
	clk.Step(15 * time.Second)
	p.want("closed")
	<-p.done
}

// TestClientThatDoesNotRead is left, and its handlers are told.
func TestClientThatDoesNotRead(t *testing.T) {
	c, clk := timed()
	c.PingAfter = time.Hour
	failed := make(chan error, 2)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, piece)); err != nil {
				failed <- err
				return
			}
		}
	})
	near, far := net.Pipe()
	p := over(t, c, h, near, far, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	p.say("window 0 1000000000", "get 1 /", "get 3 /")
	if _, err := near.Read(make([]byte, 1)); err != nil { // something is being written
		t.Fatal(err)
	}
	<-clk.armed
	clk.Step(c.Idle) // the timer was set when nobody wrote
	select {
	case err := <-failed:
		t.Log(err)
	case d := <-clk.armed: // or it found the write, which is not late yet
		clk.Step(d)
		<-failed
	}
	<-failed
	<-p.done
}

// TestShutdownOfServer tells every connection, and takes no more.
func TestShutdownOfServer(t *testing.T) {
	p := dial(t, config(), answers())
	p.play("> post 1 /read\n> ping\n< pong")
	p.server.shutdown()
	p.server.shutdown()
	p.play(`
		< goaway 1 NO_ERROR
		> get 3 /
		> data 1 end ab
		< headers 1 200 content-length=7
		< data 1 end 2 <nil>
		< closed`)
	near, far := net.Pipe()
	p.server.serve(t.Context(), far, nil, nil, answers())
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error("a connection is served after the end:", err)
	}
}

// TestNoPreface of a client, or another, ends the connection.
func TestNoPreface(t *testing.T) {
	for _, said := range []string{"", "GET / HTTP/1.1\r\n\r\n      ", http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"} {
		near, far := net.Pipe()
		s := newServer(config())
		done := make(chan bool)
		go func() {
			s.serve(t.Context(), far, nil, nil, answers())
			close(done)
		}()
		go func() {
			_, _ = io.WriteString(near, said)
			if said == "" {
				near.Close()
			}
		}()
		b, _ := io.ReadAll(near)
		<-done
		if goAway := len(b) > 17 && b[len(b)-14] == byte(http2.FrameGoAway); goAway != (len(said) > 24) {
			t.Errorf("%q: %q", said, b)
		}
	}
}
