package http2

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

// patience is how long a test waits for what comes at once, if it comes.
const patience = 20 * time.Second

func config() Config {
	return Config{
		MaxStreams: 100, MaxHeader: 16 << 10, Idle: time.Hour, PingAfter: time.Hour, PingWithin: time.Hour,
		WriteWithin: time.Hour, Clock: clock.RealClock{}, Logger: slog.New(slog.DiscardHandler),
	}
}

// stepped is a clock that tests move; armed tells each time for which
// the connection's timer was set.
type stepped struct {
	*clocktesting.FakeClock
	armed chan time.Duration
}

func newClock() stepped {
	return stepped{clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0)), make(chan time.Duration, 1000)}
}

func (c stepped) AfterFunc(d time.Duration, f func()) clock.Timer {
	t := c.FakeClock.AfterFunc(d, func() { go f() })
	c.armed <- d
	return t
}

// tick lets the time pass for which the timer was set.
func (c stepped) tick() { c.Step(<-c.armed) }

// composer writes frames as lines of a dialogue name them.
type composer struct {
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func newComposer(w io.Writer, r io.Reader) *composer {
	c := &composer{Framer: http2.NewFramer(w, r)}
	c.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.block)
	return c
}

func (c *composer) headers(id uint32, end bool, fields ...string) error {
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.compress(fields), EndStream: end, EndHeaders: true})
}

func (c *composer) compress(fields []string) []byte {
	c.block.Reset()
	for _, f := range fields {
		at := 1 + strings.Index(f[1:], "=")
		value := f[at+1:]
		if n, ok := strings.CutPrefix(value, "*"); ok && n != "" {
			k, _ := strconv.Atoi(n)
			value = strings.Repeat("x", k)
		}
		_ = c.enc.WriteField(hpack.HeaderField{Name: f[:at], Value: value})
	}
	return c.block.Bytes()
}

func request(method, path string, more ...string) []string {
	return append([]string{":method=" + method, ":scheme=https", ":authority=here", ":path=" + path}, more...)
}

// send writes what a line says:
//
//	get ID PATH FIELD=VALUE...      a request that is whole
//	post ID PATH FIELD=VALUE...     one whose body follows
//	headers ID [end] FIELD=VALUE... headers as they are; *N is a value of N bytes
//	begin ID, continue ID [end]     headers without their end
//	data ID [end] TEXT              *N is N bytes
//	rst ID CODE, window ID N, settings ID=N..., ack, ping, pong, goaway, priority ID ON
//	frame TYPE FLAGS ID HEX         any other
func (c *composer) send(line string) error {
	f := strings.Fields(line)
	number := func(i int) uint32 {
		n, _ := strconv.ParseUint(f[i], 10, 32)
		return uint32(n)
	}
	end := len(f) > 2 && f[2] == "end"
	rest := func(i int) []string {
		if end {
			i++
		}
		return f[i:]
	}
	switch f[0] {
	case "get":
		return c.headers(number(1), true, request("GET", f[2], f[3:]...)...)
	case "post":
		return c.headers(number(1), false, request("POST", f[2], f[3:]...)...)
	case "headers":
		return c.headers(number(1), end, rest(2)...)
	case "begin":
		return c.WriteHeaders(http2.HeadersFrameParam{StreamID: number(1), BlockFragment: c.compress(request("GET", "/")), EndStream: true})
	case "continue":
		return c.WriteContinuation(number(1), end, c.compress(rest(2)))
	case "data":
		p := []byte(strings.Join(rest(2), " "))
		if n, ok := strings.CutPrefix(string(p), "*"); ok {
			k, _ := strconv.Atoi(n)
			p = make([]byte, k)
		}
		return c.WriteData(number(1), end, p)
	case "rst":
		return c.WriteRSTStream(number(1), http2.ErrCode(number(2)))
	case "window":
		return c.WriteWindowUpdate(number(1), number(2))
	case "settings":
		var all []http2.Setting
		for _, s := range f[1:] {
			id, v, _ := strings.Cut(s, "=")
			i, _ := strconv.Atoi(id)
			n, _ := strconv.ParseUint(v, 10, 32)
			all = append(all, http2.Setting{ID: http2.SettingID(i), Val: uint32(n)})
		}
		return c.WriteSettings(all...)
	case "ack":
		return c.WriteSettingsAck()
	case "ping", "pong":
		return c.WritePing(f[0] == "pong", [8]byte{1, 2, 3, 4, 5, 6, 7, 8})
	case "goaway":
		return c.WriteGoAway(0, http2.ErrCodeNo, nil)
	case "priority":
		return c.WritePriority(number(1), http2.PriorityParam{StreamDep: number(2)})
	case "frame":
		p, err := hex.DecodeString(strings.Join(f[4:], ""))
		if err != nil {
			return err
		}
		return c.WriteRawFrame(http2.FrameType(number(1)), http2.Flags(number(2)), number(3), p)
	}
	return fmt.Errorf("what is %q?", line)
}

// counted can wait for the requests its handler is at.
type counted struct {
	http.Handler
	running sync.RWMutex // a sync.WaitGroup would not let one begin meanwhile
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.running.RLock()
	defer c.running.RUnlock()
	c.Handler.ServeHTTP(w, r)
}

// wait returns when those that have begun have ended.
func (c *counted) wait() {
	c.running.Lock()
	c.running.Unlock()
}

// peer is a client that speaks in frames.
type peer struct {
	testing.TB
	*composer
	net    net.Conn
	server *server
	done   chan struct{} // the server's side has ended
}

// settled returns when the server knows that no write of it is under way, and no
// more than so many requests, both of which is a little after the client does.
func (p *peer) settled(requests int) {
	p.Helper()
	busy := func() bool {
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		n := 0
		for c := range p.server.conns {
			c.mu.Lock()
			n += c.running
			c.mu.Unlock()
			if c.out.since.Load() != 0 {
				return true
			}
		}
		return n > requests
	}
	for end := time.Now().Add(patience); busy(); runtime.Gosched() {
		if time.Now().After(end) {
			p.Fatal("the server is busy yet")
		}
	}
}

// dial begins a connection with a server of its own.
func dial(t testing.TB, c Config, h http.Handler, settings ...http2.Setting) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return over(t, c, h, near, far, settings...)
}

// over begins a connection between two ends.
func over(t testing.TB, c Config, h http.Handler, near, far net.Conn, settings ...http2.Setting) *peer {
	t.Helper()
	p := &peer{TB: t, net: near, done: make(chan struct{}), server: newServer(c)}
	all := &counted{Handler: h}
	go func() {
		defer close(p.done)
		p.server.serve(context.Background(), far, nil, nil, all)
	}()
	t.Cleanup(func() {
		near.Close()
		<-p.done
		all.wait()
	})
	_ = near.SetDeadline(time.Now().Add(patience))
	p.composer = newComposer(near, near)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	greeted := make(chan struct{})
	go func() { // a pipe waits for its reader
		defer close(greeted)
		_, _ = io.WriteString(near, http2.ClientPreface)
		_ = p.WriteSettings(settings...)
	}()
	p.want("settings", "window 0 983041", "ack")
	<-greeted
	return p
}

// tell names a frame as dialogues do.
func tell(f http2.Frame) string {
	id := f.Header().StreamID
	end := ""
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		if f.StreamEnded() {
			end = " end"
		}
		s := fmt.Sprintf("headers %d%s", id, end)
		var fields []string
		for _, h := range f.Fields {
			switch h.Name {
			case "date", "content-type", "x-content-type-options":
			case ":status":
				s += " " + h.Value
			default:
				fields = append(fields, h.Name+"="+h.Value)
			}
		}
		slices.Sort(fields)
		return strings.Join(append([]string{s}, fields...), " ")
	case *http2.DataFrame:
		if f.StreamEnded() {
			end = " end"
		}
		text := string(f.Data())
		if len(text) > 100 {
			text = fmt.Sprintf("*%d", len(text))
		}
		return strings.TrimSpace(fmt.Sprintf("data %d%s %s", id, end, text))
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("rst %d %v", id, f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Sprintf("goaway %d %v", f.LastStreamID, f.ErrCode)
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("window %d %d", id, f.Increment)
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "ack"
		}
		return "settings"
	case *http2.PingFrame:
		if f.IsAck() {
			return "pong"
		}
		return "ping"
	}
	return f.Header().String()
}

func (p *peer) hear() string {
	f, err := p.ReadFrame()
	switch {
	case err == nil:
		return tell(f)
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), strings.Contains(err.Error(), "reset by peer"), strings.Contains(err.Error(), "closed pipe"):
		return "closed"
	}
	return err.Error()
}

func (p *peer) want(lines ...string) {
	p.Helper()
	for _, line := range lines {
		if got := p.hear(); got != line {
			p.Fatalf("heard %q, not %q", got, line)
		}
	}
}

func (p *peer) say(lines ...string) {
	p.Helper()
	for _, line := range lines {
		if err := p.send(line); err != nil {
			p.Fatalf("%s: %v", line, err)
		}
	}
}

// play says the lines that begin with "> ", and waits for those with "< ".
func (p *peer) play(script string) {
	p.Helper()
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if said, ok := strings.CutPrefix(line, "> "); ok {
			p.say(said)
		} else if heard, ok := strings.CutPrefix(line, "< "); ok {
			p.want(heard)
		} else if line != "" {
			p.Fatalf("what is %q?", line)
		}
	}
}
