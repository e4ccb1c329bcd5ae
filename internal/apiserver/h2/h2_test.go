package h2_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/internal/apiserver/h2"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// site is a server on a real socket.
type site struct {
	t      *testing.T
	addr   string
	pool   *x509.CertPool
	server *http.Server
}

func serve(t *testing.T, c h2.Config, h http.HandlerFunc) *site {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"site"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	s := &site{t: t, addr: l.Addr().String(), pool: x509.NewCertPool(), server: &http.Server{
		Handler:   h,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1"}},
	}}
	s.pool.AddCert(cert)
	h2.New(c).Mount(s.server)
	done := make(chan error, 1)
	go func() { done <- s.server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

func (s *site) client() *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool, ServerName: "site"}, ForceAttemptHTTP2: true, DisableCompression: true}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (s *site) get(c *http.Client, method, path string, body io.Reader) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "https://"+s.addr+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(b)
}

func TestRequests(t *testing.T) {
	big := strings.Repeat("0123456789", 1<<20) // more than any window
	s := serve(t, h2.Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
			w.WriteHeader(http.StatusCreated)
			w.Write(b)
		case "/big":
			io.WriteString(w, big)
		case "/unread":
			io.WriteString(w, "no thanks")
		case "/none":
		case "/headers":
			for i := range 2000 {
				w.Header().Set(fmt.Sprint("X-Header-", i), strings.Repeat("v", 20))
			}
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "4")
			w.Header().Set(http.TrailerPrefix+"X-More", "5")
		case "/short":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "short")
		case "/abort":
			io.WriteString(w, "some")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/who":
			fmt.Fprint(w, r.Method, " ", r.Host, " ", r.Proto, " ", r.TLS.NegotiatedProtocol, " ", r.URL.Query().Get("q"), " ", r.Header.Get("X-A"), " ", r.Header["X-B"])
		default:
			http.NotFound(w, r)
		}
	})
	c := s.client()
	for _, size := range []int{0, 1, 5000, 16384, 65535, 65536, 1 << 20, 5 << 20} {
		body := big[:size]
		res, got := s.get(c, "POST", "/echo", strings.NewReader(body))
		if res.StatusCode != 201 || res.ProtoMajor != 2 || got != body || res.Header.Get("X-Length") != fmt.Sprint(size) || res.Header.Get("Date") == "" {
			t.Errorf("%d bytes: %v, %d bytes", size, res, len(got))
		}
		// Of unknown length.
		if res, got := s.get(c, "POST", "/echo", io.MultiReader(strings.NewReader(body))); got != body || size > 0 && res.Header.Get("X-Length") != "-1" {
			t.Errorf("%d bytes: %v, %d bytes", size, res, len(got))
		}
	}
	if _, got := s.get(c, "GET", "/big", nil); got != big {
		t.Errorf("%d bytes", len(got))
	}
	if res, got := s.get(c, "POST", "/unread", strings.NewReader(big)); res.StatusCode != 200 || got != "no thanks" {
		t.Error(res, got)
	}
	if res, got := s.get(c, "GET", "/none", nil); res.StatusCode != 200 || got != "" {
		t.Error(res, got)
	}
	if res, got := s.get(c, "HEAD", "/echo", nil); res.StatusCode != 201 || got != "" {
		t.Error(res, got)
	}
	if res, _ := s.get(c, "GET", "/headers", nil); len(res.Header) < 2000 {
		t.Error(len(res.Header))
	}
	if res, got := s.get(c, "GET", "/early", nil); res.StatusCode != 200 || got != "body" || res.Trailer.Get("X-Sum") != "4" || res.Trailer.Get("X-More") != "5" {
		t.Error(res, got)
	}
	for _, path := range []string{"/short", "/abort"} {
		res, err := c.Get("https://" + s.addr + path)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a broken answer passed for a whole one", path)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.addr+"/who?q=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "example.com"
	r.Header["X-A"], r.Header["X-B"] = []string{"a"}, []string{"b", "c"}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "GET example.com HTTP/2.0 h2 1 a [b c]" {
		t.Errorf("%s", b)
	}
}

// TestSideBySide has many requests of all sizes share one connection, with
// readers that are slow and readers that give up.
func TestSideBySide(t *testing.T) {
	block := bytes.Repeat([]byte("abcdefgh"), 1<<12)
	s := serve(t, h2.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" {
			n, err := io.Copy(io.Discard, r.Body)
			if err == nil {
				fmt.Fprint(w, n)
			}
			return
		}
		for range 64 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	c := s.client()
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			switch i % 3 {
			case 0:
				if _, got := s.get(c, "GET", "/", nil); len(got) != 64*len(block) {
					t.Errorf("%d bytes", len(got))
				}
			case 1: // gives up
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r, err := http.NewRequestWithContext(ctx, "GET", "https://"+s.addr+"/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				res, err := c.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(res.Body, make([]byte, 1000)); err != nil {
					t.Error(err)
				}
				cancel()
				res.Body.Close()
			case 2:
				if _, got := s.get(c, "POST", "/up", io.LimitReader(zeros{}, 3<<20)); got != fmt.Sprint(3<<20) {
					t.Error(got)
				}
			}
		})
	}
	wg.Wait()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestStreaming(t *testing.T) {
	gone := make(chan struct{})
	s := serve(t, h2.Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		buf := make([]byte, 5)
		for {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				break
			}
			w.Write(buf)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		close(gone)
	})
	in, out := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+s.addr, in)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"hello", "world"} {
		io.WriteString(out, word)
		got := make([]byte, 5)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != word {
			t.Errorf("%s %v", got, err)
		}
	}
	res.Body.Close()
	out.Close()
	<-gone // a client that leaves ends the request
}

func TestReadDeadline(t *testing.T) {
	late := make(chan error, 1)
	s := serve(t, h2.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Error(err)
		}
		_, err := io.ReadAll(r.Body)
		late <- err
	})
	in, out := io.Pipe()
	defer out.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+s.addr, in)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	var timeout interface{ Timeout() bool }
	if err := <-late; !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error(err)
	}
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	s := serve(t, h2.Config{}, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-end
		io.WriteString(w, "done")
	})
	got := make(chan string)
	go func() {
		_, b := s.get(s.client(), "GET", "/", nil)
		got <- b
	}()
	<-begun
	down := make(chan error)
	go func() { down <- s.server.Shutdown(context.Background()) }()
	close(end)
	if b := <-got; b != "done" {
		t.Error(b)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// peer speaks frames.
type peer struct {
	t    *testing.T
	nc   net.Conn
	fr   *http2.Framer
	henc *hpack.Encoder
	hbuf bytes.Buffer
	bad  bool
}

func (s *site) peer() *peer {
	s.t.Helper()
	nc, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.pool, ServerName: "site", NextProtos: []string{"h2"}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	p := &peer{t: s.t, nc: nc, fr: http2.NewFramer(nc, nc)}
	p.fr.AllowIllegalWrites = true
	p.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.henc = hpack.NewEncoder(&p.hbuf)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		s.t.Fatal(err)
	}
	p.must(p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}))
	return p
}

// must lets a peer that misbehaves be cut off.
func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil && !p.bad {
		p.t.Fatal(err)
	}
}

func (p *peer) block(fields ...string) []byte {
	p.hbuf.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.must(p.henc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return p.hbuf.Bytes()
}

func (p *peer) request(id uint32, end bool, more ...string) {
	p.t.Helper()
	b := p.block(append([]string{":method", "POST", ":scheme", "https", ":path", "/", ":authority", "a"}, more...)...)
	p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b, EndHeaders: true, EndStream: end}))
}

// until reads frames until one satisfies f.
func (p *peer) until(f func(http2.Frame) bool) {
	p.t.Helper()
	for {
		fr, err := p.fr.ReadFrame()
		if err != nil {
			p.t.Fatal(err)
		}
		if s, ok := fr.(*http2.SettingsFrame); ok && !s.IsAck() {
			p.must(p.fr.WriteSettingsAck())
		}
		if f(fr) {
			return
		}
	}
}

func (p *peer) goAway(code http2.ErrCode) {
	p.t.Helper()
	for {
		fr, err := p.fr.ReadFrame()
		if err != nil {
			p.t.Fatalf("no GOAWAY: %v", err)
		}
		if g, ok := fr.(*http2.GoAwayFrame); ok {
			if g.ErrCode != code {
				p.t.Fatalf("GOAWAY %v, want %v", g.ErrCode, code)
			}
			return
		}
	}
}

func (p *peer) reset(id uint32, code http2.ErrCode) {
	p.t.Helper()
	p.until(func(f http2.Frame) bool {
		r, ok := f.(*http2.RSTStreamFrame)
		if ok && (r.StreamID != id || r.ErrCode != code) {
			p.t.Fatalf("%v, want %v of %d", r, code, id)
		}
		return ok
	})
}

func hello(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		io.WriteString(w, "hello, hello, hello")
	}
}

// TestWindows checks that nothing goes beyond the peer's windows, and that
// what was held back goes as they open.
func TestWindows(t *testing.T) {
	s := serve(t, h2.Config{}, hello)
	p := s.peer()
	p.request(1, true)
	data := func(want string) {
		t.Helper()
		p.until(func(f http2.Frame) bool {
			d, ok := f.(*http2.DataFrame)
			if ok && string(d.Data()) != want {
				t.Fatalf("%q, want %q", d.Data(), want)
			}
			return ok
		})
	}
	data("hello, hel")
	p.must(p.fr.WriteWindowUpdate(1, 2))
	data("lo")
	// A setting changes the windows of streams that are open already: 10 more
	// than they were at first.
	p.must(p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 13}))
	data(", h")
	p.must(p.fr.WriteWindowUpdate(1, 100))
	data("ello")
}

func TestBadPeers(t *testing.T) {
	for name, x := range map[string]struct {
		do   func(p *peer)
		code http2.ErrCode
	}{
		"even stream":         {func(p *peer) { p.request(2, true) }, http2.ErrCodeProtocol},
		"stream backwards":    {func(p *peer) { p.request(3, true); p.request(1, true) }, http2.ErrCodeProtocol},
		"data of no stream":   {func(p *peer) { p.must(p.fr.WriteData(5, true, nil)) }, http2.ErrCodeProtocol},
		"window of no stream": {func(p *peer) { p.must(p.fr.WriteWindowUpdate(5, 1)) }, http2.ErrCodeProtocol},
		"window of nothing":   {func(p *peer) { p.must(p.fr.WriteWindowUpdate(0, 0)) }, http2.ErrCodeProtocol},
		"window too large":    {func(p *peer) { p.must(p.fr.WriteWindowUpdate(0, 1<<31-1)) }, http2.ErrCodeFlowControl},
		"bad setting":         {func(p *peer) { p.must(p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})) }, http2.ErrCodeProtocol},
		"frame too large":     {func(p *peer) { p.request(1, false); p.must(p.fr.WriteData(1, false, make([]byte, 20000))) }, http2.ErrCodeFrameSize},
		"bad compression": {func(p *peer) {
			p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, EndHeaders: true}))
		}, http2.ErrCodeCompression},
		"push": {func(p *peer) {
			p.must(p.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: p.block(":method", "GET"), EndHeaders: true}))
		}, http2.ErrCodeProtocol},
		"interrupted headers": {func(p *peer) {
			p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":method", "GET")}))
			p.must(p.fr.WritePing(false, [8]byte{}))
		}, http2.ErrCodeProtocol},
		"reset of no stream": {func(p *peer) { p.must(p.fr.WriteRSTStream(7, http2.ErrCodeCancel)) }, http2.ErrCodeProtocol},
		"endless continuation": {func(p *peer) {
			p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(":method", "GET")}))
			for range 1000 {
				if p.fr.WriteContinuation(1, false, bytes.Repeat(p.block("a", strings.Repeat("b", 100)), 10)) != nil {
					return
				}
			}
		}, http2.ErrCodeProtocol},
		"rapid reset": {func(p *peer) {
			for i := range uint32(6000) {
				b := p.block(":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a")
				if p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: b, EndHeaders: true}) != nil ||
					p.fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
					return
				}
			}
		}, http2.ErrCodeEnhanceYourCalm},
		"pings": {func(p *peer) {
			for range 20000 {
				if p.fr.WritePing(false, [8]byte{}) != nil {
					return
				}
			}
		}, http2.ErrCodeEnhanceYourCalm},
	} {
		t.Run(name, func(t *testing.T) {
			// A handler that waits for its body is what a reset meets.
			s := serve(t, h2.Config{}, hello)
			p := s.peer()
			p.t = t
			p.bad = true
			var doing sync.WaitGroup
			doing.Go(func() { x.do(p) })
			p.goAway(x.code)
			p.nc.Close()
			doing.Wait()
		})
	}
}

func TestBadStreams(t *testing.T) {
	s := serve(t, h2.Config{MaxStreams: 2}, hello)
	p := s.peer()
	id := uint32(1)
	for name, more := range map[string][]string{
		"unknown pseudo header": {":what", "x"},
		"upper case":            {"X-Upper", "x"},
		"connection":            {"connection", "close"},
		"te":                    {"te", "gzip"},
		"bad length":            {"content-length", "-1"},
		"two lengths":           {"content-length", "1", "content-length", "1"},
		"length of no body":     {"content-length", "5"},
		"second path":           {":path", "/x"},
	} {
		t.Run(name, func(t *testing.T) {
			p.t = t
			p.request(id, true, more...)
			p.reset(id, http2.ErrCodeProtocol)
			id += 2
		})
	}
	p.t = t
	// More than was declared.
	p.request(id, false, "content-length", "3")
	p.must(p.fr.WriteData(id, true, []byte("four")))
	p.reset(id, http2.ErrCodeProtocol)
	id += 2
	// Too many at once.
	p.request(id, false)
	p.request(id+2, false)
	p.request(id+4, false)
	p.reset(id+4, http2.ErrCodeRefusedStream)
	// The connection still serves.
	p.must(p.fr.WriteData(id, true, nil))
	p.until(func(f http2.Frame) bool {
		h, ok := f.(*http2.MetaHeadersFrame)
		return ok && h.StreamID == id && h.PseudoValue("status") == "200"
	})
}

func TestTooManyHeaders(t *testing.T) {
	s := serve(t, h2.Config{MaxHeader: 1000}, hello)
	p := s.peer()
	p.request(1, true, "a", strings.Repeat("b", 500), "c", strings.Repeat("d", 500))
	p.until(func(f http2.Frame) bool {
		h, ok := f.(*http2.MetaHeadersFrame)
		return ok && h.PseudoValue("status") == "431"
	})
}

// TestUnreadBodies checks that a peer cannot make the server hold more than
// its window.
func TestUnreadBodies(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s := serve(t, h2.Config{Window: 256 << 10}, func(http.ResponseWriter, *http.Request) { <-release })
	p := s.peer()
	go func() {
		for id := uint32(1); id < 41; id += 2 {
			b := p.block(":method", "POST", ":scheme", "https", ":path", "/", ":authority", "a")
			if p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b, EndHeaders: true}) != nil {
				return
			}
			for range 4 {
				if p.fr.WriteData(id, false, make([]byte, 16000)) != nil {
					return
				}
			}
		}
	}()
	p.goAway(http2.ErrCodeFlowControl)
}

func TestSilentPeer(t *testing.T) {
	gone := make(chan struct{})
	s := serve(t, h2.Config{PingAfter: time.Millisecond, PingTimeout: time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	p := s.peer()
	p.request(1, true)
	<-gone // it never answers the ping
}

func TestIdle(t *testing.T) {
	s := serve(t, h2.Config{IdleTimeout: time.Millisecond}, hello)
	s.peer().goAway(http2.ErrCodeNo)
}
