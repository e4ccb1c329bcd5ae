package http2

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// until reads until a line is heard, or fails.
func (p *peer) until(line string) {
	p.Helper()
	for got := ""; got != line; {
		if got = p.hear(); got == "closed" && line != got {
			p.Fatalf("closed before %q", line)
		}
	}
}

// TestRapidReset of requests whose handlers do not end at once (CVE-2023-44487):
// no more than twice MaxStreams are under way, and the client is told to stop.
func TestRapidReset(t *testing.T) {
	c := config()
	c.MaxStreams = 10
	var running, most atomic.Int64
	release := make(chan bool)
	p := dial(t, c, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		running.Add(-1)
	}))
	go func() {
		for id := 1; id < 10_000; id += 2 {
			if p.send(fmt.Sprintf("get %d /", id)) != nil || p.send(fmt.Sprintf("rst %d 8", id)) != nil {
				return
			}
		}
	}()
	p.until(fmt.Sprintf("goaway %d ENHANCE_YOUR_CALM", 2*(20+mostRefused+1)-1))
	close(release)
	p.until("closed")
	if n := most.Load(); n > 20 {
		t.Errorf("%d handlers ran at once", n)
	}
}

// TestFloods of frames that say nothing are answered one by one, and hold
// nobody's connection.
func TestFloods(t *testing.T) {
	for _, f := range []struct{ line, answer string }{
		{"ping", "pong"}, {"settings 4=0", "ack"}, {"settings 4=5 4=6", "ack"}, {"data 1", ""}, {"priority 7 5", ""},
		{"window 1 1", ""}, {"window 0 1", ""}, {"frame 99 0 0", ""}, {"rst 3 8", ""}, {"frame 0 8 1 0400000000", ""},
	} {
		t.Run(f.line, func(t *testing.T) {
			p := dial(t, config(), answers())
			p.say("post 1 /read", "get 3 /wait")
			const many = 20_000
			go func() {
				for range many {
					if p.send(f.line) != nil {
						return
					}
				}
				_ = p.send("data 1 end end")
			}()
			n := 0
			for {
				line := p.hear()
				if line == "headers 1 200 content-length=7" {
					break
				}
				if line == f.answer {
					n++
				} else if !strings.HasPrefix(line, "window 1 ") && !strings.HasPrefix(line, "window 0 ") {
					t.Fatal(line)
				}
			}
			if f.answer == "" {
				return
			}
			for n < many {
				if line := p.hear(); line == f.answer {
					n++
				} else if !strings.HasPrefix(line, "data 1") {
					t.Fatal(line)
				}
			}
		})
	}
}

// TestFloodsUnread of what the server must answer are not read on, and end the
// connection of a client that does not read.
func TestFloodsUnread(t *testing.T) {
	for name, say := range map[string]func(i int) string{
		"ping":     func(int) string { return "ping" },
		"settings": func(int) string { return "settings" },
		"no path":  func(i int) string { return fmt.Sprintf("headers %d end a=b", 2*i+1) },
		"requests": func(i int) string { return fmt.Sprintf("get %d /", 2*i+1) },
	} {
		t.Run(name, func(t *testing.T) {
			c := config()
			c.PingAfter, c.PingWithin, c.WriteWithin = 100*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond
			near, far := net.Pipe() // which buffers nothing
			p := over(t, c, answers(), near, far)
			for i := 0; p.send(say(i)) == nil; i++ {
			}
			p.net.Close()
			<-p.done
		})
	}
}

// TestUnreadBodies hold no more than the connection's window.
func TestUnreadBodies(t *testing.T) {
	p := dial(t, config(), answers())
	id := 1
	for said := 0; said+16000 <= readWindow; said += 16000 {
		p.say(fmt.Sprintf("post %d /wait", id), fmt.Sprintf("data %d *16000", id))
		id += 2
	}
	p.play("> ping\n< pong")
	p.say(fmt.Sprintf("post %d /wait", id), fmt.Sprintf("data %d *16000", id))
	p.until(fmt.Sprintf("goaway %d FLOW_CONTROL_ERROR", id))
	p.until("closed")
}

// TestStreamWindow is kept by the client, or the stream ends, though the
// connection's would allow more.
func TestStreamWindow(t *testing.T) {
	read := make(chan int)
	p := dial(t, config(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		want, _ := strconv.Atoi(r.URL.RawQuery)
		n, _ := io.ReadFull(r.Body, make([]byte, want))
		read <- n
		<-r.Context().Done()
	}))
	send := func(id, n int) {
		for ; n > 0; n -= 16000 {
			p.say(fmt.Sprintf("data %d *%d", id, min(n, 16000)))
		}
	}
	p.say(fmt.Sprintf("post 1 /?%d", readWindow/4-1))
	send(1, readWindow/4-1)
	<-read // and nothing is granted
	p.say("post 3 /?1000")
	send(3, 1000)
	<-read // and all is, of the connection
	send(3, readWindow-1000+1)
	p.want(fmt.Sprintf("window 0 %d", readWindow/4+999), fmt.Sprintf("window 0 %d", readWindow-1000+1), "rst 3 FLOW_CONTROL_ERROR")
	p.play("> ping\n< pong")
}

// TestManyWaiters for a window of nothing cost little, and all have their turn.
func TestManyWaiters(t *testing.T) {
	c := config()
	c.MaxStreams = 1000
	p := dial(t, c, answers(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for i := range 1000 {
		p.say(fmt.Sprintf("get %d /write?3", 2*i+1))
		p.want(fmt.Sprintf("headers %d 200 content-length=3", 2*i+1))
	}
	p.say("settings 4=3")
	told := map[string]bool{}
	for acked := false; !acked || len(told) < 1000; { // in any order
		switch line := p.hear(); {
		case line == "ack":
			acked = true
		case strings.HasPrefix(line, "data ") && strings.Contains(line, " end ") && !told[line]:
			told[line] = true
		default:
			t.Fatal(line)
		}
	}
	p.play("> ping\n< pong")
}

// TestNamesAreNotHoarded, be they many or long.
func TestNamesAreNotHoarded(t *testing.T) {
	c := &conn{names: map[string]string{}}
	for i := range 1000 {
		c.canonical(fmt.Sprintf("a-%d", i))
		c.canonical(strings.Repeat("b", longestName) + fmt.Sprint(i))
	}
	if len(c.names) > mostNames {
		t.Error(len(c.names))
	}
	for name := range c.names {
		if len(name) > longestName {
			t.Error(name)
		}
	}
}

// TestBodyBuffer keeps what came in order, and no more memory than it is worth.
func TestBodyBuffer(t *testing.T) {
	var b body
	in, out := 0, 0
	for i := range 5000 {
		n := i * 131 % 4000
		b.put(text(1, in, in+n))
		in += n
		p := make([]byte, i*97%4300)
		k := b.take(p)
		if string(p[:k]) != string(text(1, out, out+k)) {
			t.Fatalf("at %d, what is read is not what came", out)
		}
		if out += k; b.size() != in-out {
			t.Fatalf("%d bytes are left of %d", b.size(), in-out)
		}
		if cap(b.buf) > 8*(b.size()+keptBody) {
			t.Fatalf("%d bytes hold %d", cap(b.buf), b.size())
		}
	}
	b.put(make([]byte, keptBody+1))
	b.take(make([]byte, in))
	if n := b.drop(); n != 0 || b.buf != nil {
		t.Error(n, cap(b.buf))
	}
}
