package http2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/internal/apiserver/http2"
	"clipper/internal/apiserver/wire"

	"k8s.io/utils/clock"
)

// serve starts a server of a handler, whose client speaks HTTP/2.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	http2.Configure(s.Config, http2.Config{
		MaxStreams: 250, MaxHeader: 64 << 10, Idle: time.Hour, PingAfter: time.Hour, PingWithin: time.Hour,
		WriteWithin: time.Hour, Clock: clock.RealClock{}, Logger: slog.New(slog.DiscardHandler),
	})
	s.Listener = wire.Listen(s.Listener)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	s.Client().Transport.(*http.Transport).DisableCompression = true
	return s
}

func do(t testing.TB, s *httptest.Server, method, path string, body io.Reader, h http.Header) (*http.Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range h {
		r.Header[name] = v
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ProtoMajor != 2 {
		t.Fatalf("the server spoke %s", res.Proto)
	}
	return res, b
}

var sizes = []int{0, 1, 4086, 4087, 4088, 4095, 4096, 4097, 16374, 16375, 16376, 131000, 131001, 128<<10 - 1, 128 << 10, 128<<10 + 1, 5 << 20}

func numbers(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> (i % 5))
	}
	return b
}

// TestBodies of all sizes go both ways, with their length told and without, in
// one piece, in many, and while they still come.
func TestBodies(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_, _ = io.Copy(w, r.Body)
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		if r.URL.Path == "/told" {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		}
		for part := range slices.Chunk(b, 5000) {
			_, _ = io.WriteString(w, string(part))
		}
	}))
	for _, n := range sizes {
		for _, path := range []string{"/told", "/untold", "/stream"} {
			want := numbers(n)
			var body io.Reader = bytes.NewReader(want)
			if path == "/untold" {
				body = io.MultiReader(body) // whose length nobody knows
			}
			res, got := do(t, s, "POST", path, body, nil)
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes came back of %d", path, len(got), n)
			}
			if told := path == "/told" || n < 128_000 && path != "/stream"; told && res.ContentLength != int64(n) {
				t.Errorf("%s: a length of %d was told of %d", path, res.ContentLength, n)
			}
		}
	}
}

// TestManyAtOnce share a connection.
func TestManyAtOnce(t *testing.T) {
	var clients sync.Map
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clients.Store(r.RemoteAddr, true)
		n, _ := strconv.Atoi(r.URL.RawQuery)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(numbers(n))
	}))
	do(t, s, "GET", "/?1", nil, nil)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			for k := range 5 {
				n := (i*977 + k*50_021) % 300_000
				if _, b := do(t, s, "POST", "/?"+strconv.Itoa(n), bytes.NewReader(numbers(n/2)), nil); !bytes.Equal(b, numbers(n)) {
					t.Errorf("%d bytes came of %d", len(b), n)
				}
			}
		})
	}
	all.Wait()
	n := 0
	clients.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections were opened", n)
	}
}

// TestMoreThanMayBe wait their turn, and none is refused for those before it
// that are answered already.
func TestMoreThanMayBe(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	s.Client().Transport.(*http.Transport).MaxConnsPerHost = 1
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			// A body that cannot be sent again: a refusal would be an error.
			if _, b := do(t, s, "POST", "/", io.MultiReader(strings.NewReader("hello")), nil); string(b) != "hello" {
				t.Errorf("%q", b)
			}
		})
	}
	all.Wait()
}

func TestCancelledByClient(t *testing.T) {
	ended := make(chan error, 3)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		switch r.URL.Path {
		case "/read":
			_, err := io.ReadAll(r.Body)
			ended <- err
		case "/write":
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					ended <- err
					return
				}
			}
		default:
			<-r.Context().Done()
			ended <- r.Context().Err()
		}
	}))
	for _, path := range []string{"/read", "/write", "/wait"} {
		ctx, cancel := context.WithCancel(context.Background())
		never, end := io.Pipe()
		r, _ := http.NewRequestWithContext(ctx, "POST", s.URL+path, never)
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		res.Body.Close() // net/http's client waits for its own body otherwise
		if err := <-ended; err == nil {
			t.Errorf("%s: nobody tells the handler", path)
		}
		end.Close()
	}
	do(t, s, "POST", "/read", nil, nil) // the connection lives on
}

// TestCutBody is an error for who reads it, and never the end of a shorter one.
func TestCutBody(t *testing.T) {
	begun, cut, ended := make(chan bool), make(chan bool), make(chan error)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-cut
		<-r.Context().Done()
		_, err := io.ReadAll(r.Body)
		ended <- err
	}))
	ctx, cancel := context.WithCancel(context.Background())
	r, _ := http.NewRequestWithContext(ctx, "DELETE", s.URL, strings.NewReader("all of it was sent"))
	go func() {
		<-begun
		cancel()
		close(cut)
	}()
	if _, err := s.Client().Do(r); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a body that was thrown away reads as an empty one")
	}
}

// TestStream of events arrives as they are flushed.
func TestStream(t *testing.T) {
	next := make(chan string)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for event := range next {
			_, _ = io.WriteString(w, event)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
	}))
	defer s.CloseClientConnections()
	r, w := io.Pipe()
	go func() {
		res, err := s.Client().Get(s.URL)
		if err == nil {
			_, err = io.Copy(w, res.Body)
		}
		w.CloseWithError(err)
	}()
	for i := range 100 {
		want := fmt.Sprintf("event %d\n", i)
		next <- want
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("%q %v", got, err)
		}
	}
	close(next)
	if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
		t.Errorf("%q %v", b, err)
	}
}

func TestStatuses(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.RawQuery)
		w.WriteHeader(code)
		if code == 200 {
			_, _ = io.WriteString(w, "<html>")
		}
	}))
	for _, c := range []struct {
		method, query string
		length        int64
		kind          string
	}{
		{"GET", "200", 6, "text/html; charset=utf-8"},
		{"HEAD", "200", 6, "text/html; charset=utf-8"},
		{"HEAD", "404", -1, ""},
		{"GET", "204", 0, ""},
		{"GET", "304", 0, ""},
		{"GET", "500", 0, ""},
	} {
		res, _ := do(t, s, c.method, "/?"+c.query, nil, nil)
		if strconv.Itoa(res.StatusCode) != c.query || res.ContentLength != c.length || res.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s %s: %d, %d, %q", c.method, c.query, res.StatusCode, res.ContentLength, res.Header.Get("Content-Type"))
		}
		if _, err := http.ParseTime(res.Header.Get("Date")); err != nil {
			t.Error(err)
		}
	}
}

func TestContinue(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "" {
			t.Error("Expect is not the handler's")
		}
		if r.URL.Path == "/read" {
			_, _ = io.Copy(w, r.Body)
		}
	}))
	s.Client().Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	for _, path := range []string{"/read", "/refuse"} {
		told := false
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { told = true }})
		r, _ := http.NewRequestWithContext(ctx, "POST", s.URL+path, strings.NewReader("hello"))
		r.Header.Set("Expect", "100-continue")
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if told != (path == "/read") || told != (string(b) == "hello") {
			t.Errorf("%s: %v %q", path, told, b)
		}
	}
}

func TestTrailers(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v, ok := r.Trailer["Sum"]; !ok || v != nil {
			t.Errorf("before the body, trailers are %v", r.Trailer)
		}
		w.Header().Set("Trailer", "Answer")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("Answer", strings.Join(r.Trailer["Sum"], "")+strconv.FormatInt(n, 10))
		w.Header().Set(http.TrailerPrefix+"More", "yes")
	}))
	r, _ := http.NewRequest("POST", s.URL, io.MultiReader(strings.NewReader("hello")))
	r.Trailer = http.Header{"Sum": {"1"}}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil || string(b) != "hello" || res.Trailer.Get("Answer") != "15" || res.Trailer.Get("More") != "yes" {
		t.Errorf("%q %v %v", b, err, res.Trailer)
	}
}

// TestTrailersBehindProxy are copied before they come, while they come.
func TestTrailersBehindProxy(t *testing.T) {
	back := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "Answer")
		w.WriteHeader(http.StatusOK)
		w.Header().Set("Answer", r.Trailer.Get("Sum")+strconv.FormatInt(n, 10))
	}))
	to, _ := url.Parse(back.URL)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: back.Client().Transport}
	front := serve(t, proxy)
	for range 50 {
		r, _ := http.NewRequest("POST", front.URL, io.MultiReader(bytes.NewReader(numbers(20_000))))
		r.Trailer = http.Header{"Sum": {"1"}}
		res, err := front.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Fatal(err)
		}
		// The proxy does not hand a request's trailers on in time for all of
		// them; that it survives them is what counts.
		if a := res.Trailer.Get("Answer"); a != "120000" && a != "20000" {
			t.Fatal(res.Trailer)
		}
	}
}

func TestEarlyHints(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		_, _ = io.WriteString(w, "ok")
	}))
	var codes []int
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if h.Get("Link") != "</a>" {
			t.Error(h)
		}
		codes = append(codes, code)
		return nil
	}})
	r, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	if string(b) != "ok" || !slices.Equal(codes, []int{103, 102}) {
		t.Errorf("%q %v", b, codes)
	}
}

// TestHeadersAreThoseOfWriteHeader, as net/http has it.
func TestHeadersAreThoseOfWriteHeader(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", "1")
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("A", "2")
		http.Error(w, "wrong", http.StatusInternalServerError)
	}))
	res, b := do(t, s, "GET", "/", nil, nil)
	if res.StatusCode != 201 || res.Header.Get("A") != "1" || string(b) != "wrong\n" {
		t.Error(res, string(b))
	}
}

// TestBrokenAnswers are errors for the client, and the connection lives on.
func TestBrokenAnswers(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/abort":
			_, _ = io.WriteString(w, "some of it")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/panic":
			panic("ouch")
		case "/status":
			w.WriteHeader(42)
		case "/short":
			w.Header().Set("Content-Length", "200000")
			_, _ = w.Write(make([]byte, 150_000))
		}
	}))
	for _, path := range []string{"/abort", "/panic", "/status", "/short"} {
		res, err := s.Client().Get(s.URL + path)
		if err == nil {
			_, err = io.ReadAll(res.Body)
		}
		if err == nil {
			t.Errorf("%s: no error", path)
		}
	}
	do(t, s, "GET", "/", nil, nil)
}

// TestUnreadBody of any size keeps nobody from the answer.
func TestUnreadBody(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/some" {
			_, _ = io.CopyN(io.Discard, r.Body, 100_000)
		}
		_, _ = io.WriteString(w, "enough")
	}))
	for range 5 {
		for _, path := range []string{"/none", "/some"} {
			if _, b := do(t, s, "POST", path, bytes.NewReader(make([]byte, 5<<20)), nil); string(b) != "enough" {
				t.Errorf("%q", b)
			}
		}
	}
}

func TestReadDeadline(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Error(err)
		}
		_, err := r.Body.Read(make([]byte, 1))
		fmt.Fprint(w, err)
	}))
	r, w := io.Pipe()
	defer w.Close()
	if _, b := do(t, s, "POST", "/", r, nil); string(b) != "i/o timeout" {
		t.Errorf("%q", b)
	}
}

func TestRequest(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || r.TLS.NegotiatedProtocol != "h2" || r.RemoteAddr == "" || r.Proto != "HTTP/2.0" ||
			r.Context().Value(http.ServerContextKey) == nil || r.Context().Value(http.LocalAddrContextKey) == nil {
			t.Errorf("%+v", r)
		}
		fmt.Fprintf(w, "%s %s %s %s %d %v", r.Method, r.RequestURI, r.URL.Path, r.URL.RawQuery, r.ContentLength, r.Header["X"])
	}))
	if _, b := do(t, s, "PATCH", "//a%20b/?c=d", strings.NewReader("abc"), http.Header{"X": {"1", "2"}}); string(b) != "PATCH //a%20b/?c=d //a b/ c=d 3 [1 2]" {
		t.Errorf("%s", b)
	}
}

// TestShutdown lets answers under way end, refuses others, and ends then.
func TestShutdown(t *testing.T) {
	begun, finish := make(chan bool), make(chan bool)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/other" {
			return
		}
		_, _ = io.WriteString(w, "begun ")
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-finish
		_, _ = w.Write(make([]byte, 300_000))
	}))
	got := make(chan error, 1)
	go func() {
		res, err := s.Client().Get(s.URL)
		if err == nil {
			var n int64
			if n, err = io.Copy(io.Discard, res.Body); n != 300_006 {
				err = fmt.Errorf("%d bytes came: %w", n, err)
			}
		}
		got <- err
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- s.Config.Shutdown(context.Background()) }()
	// The connection is told, so that its client opens no more streams on it.
	for {
		res, err := s.Client().Get(s.URL + "/other")
		if err != nil {
			break // the listener is closed
		}
		res.Body.Close()
	}
	select {
	case err := <-ended:
		t.Fatal("it ended before its answer:", err)
	default:
	}
	close(finish)
	if err := <-got; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestHTTP1 is served as before.
func TestHTTP1(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}}
	defer c.CloseIdleConnections()
	res, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); string(b) != "HTTP/1.1" {
		t.Errorf("%s", b)
	}
}
