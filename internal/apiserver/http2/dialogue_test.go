package http2

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answers are what the dialogues ask for.
func answers() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	m.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v", len(b), err)
		for name, v := range r.Trailer {
			fmt.Fprintf(w, " %s=%s", name, strings.Join(v, ","))
		}
	})
	m.HandleFunc("/wait", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	m.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.RawQuery)
		_, _ = w.Write(make([]byte, n))
	})
	m.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "abc")
	})
	m.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "abcde")
		if _, err := io.WriteString(w, "f"); !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
	})
	m.HandleFunc("/flush", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "b")
	})
	m.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusSwitchingProtocols)
		w.WriteHeader(http.StatusAccepted)
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Link", "</b>") // too late
		_, _ = io.WriteString(w, "ok")
	})
	m.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum, Content-Length")
		if r.URL.RawQuery != "" {
			w.Header().Set("Content-Length", "2")
		}
		_, _ = io.WriteString(w, "ok")
		w.Header().Set("Sum", "1")
		w.Header().Set(http.TrailerPrefix+"late", "2")
	})
	m.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.RawQuery)
		w.Header().Set("Content-Length", "3")
		w.WriteHeader(n)
		_, err := w.Write([]byte("abc"))
		if (err == http.ErrBodyNotAllowed) != (n == 204 || n == 304) {
			panic(err)
		}
	})
	m.HandleFunc("/headers", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Connection"], h["Transfer-Encoding"], h["Keep-Alive"] = []string{"x"}, []string{"chunked"}, []string{"1"}
		h["bad name"], h["Bad"] = []string{"1"}, []string{"a\nb"}
		h["Many"] = []string{"1", "2"}
		h["Content-Length"] = []string{"+0"}
	})
	m.HandleFunc("/goodbye", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	m.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("ouch") })
	m.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "flush" {
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	})
	m.HandleFunc("/late", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
		_, err := r.Body.Read(make([]byte, 1))
		fmt.Fprint(w, err)
	})
	m.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
		_, _ = io.WriteString(w, "never")
	})
	m.HandleFunc("/close", func(w http.ResponseWriter, r *http.Request) {
		r.Body.Close()
		_, err := r.Body.Read(make([]byte, 1))
		fmt.Fprint(w, err)
	})
	m.HandleFunc("/both", func(w http.ResponseWriter, r *http.Request) { // answers, and reads then
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	m.HandleFunc("/cookie", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, r.Header["Cookie"], len(r.Header["Host"]), r.Header["A"], r.ContentLength)
	})
	return m
}

// TestDialogues plays what clients may say, and checks every frame that
// answers it. At the end of each, nothing but what is named has been said.
func TestDialogues(t *testing.T) {
	for name, script := range dialogues {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config()
			c.MaxStreams = 3
			p := dial(t, c, answers())
			p.play(script)
			if !strings.HasSuffix(strings.TrimSpace(script), "< closed") {
				p.play("> ping\n< pong")
			}
		})
	}
}

var dialogues = map[string]string{
	// Requests and answers.
	"an empty answer": `
		> get 1 /
		< headers 1 end 200 content-length=0`,
	"HEAD": `
		> headers 1 end :method=HEAD :scheme=https :path=/write?7
		< headers 1 end 200 content-length=7`,
	"HEAD of a length that is told": `
		> headers 1 end :method=HEAD :scheme=https :path=/status?200
		< headers 1 end 200 content-length=3`,
	"204 has no length": `
		> get 1 /status?204
		< headers 1 end 204`,
	"304 may have one": `
		> get 1 /status?304
		< headers 1 end 304 content-length=3`,
	"a body": `
		> post 1 /read
		> data 1 abc
		> data 1 end de
		< headers 1 200 content-length=7
		< data 1 end 5 <nil>`,
	"a padded body": `
		> post 1 /read content-length=2
		> frame 0 9 1 03 6162 000000
		< headers 1 200 content-length=7
		< data 1 end 2 <nil>`,
	"a flush": `
		> get 1 /flush
		< headers 1 200
		< data 1 a
		< data 1 end b`,
	"an answer of several frames": `
		> get 1 /write?16376
		< headers 1 200 content-length=16376
		< data 1 *16375
		< data 1 end` + " \x00",
	"answers before the last": `
		> get 1 /hints
		< headers 1 103 link=</a>
		< headers 1 202 content-length=2 link=</a>
		< data 1 end ok`,
	"trailers": `
		> get 1 /trailers
		< headers 1 200 trailer=Sum, Content-Length
		< data 1 ok
		< headers 1 end late=2 sum=1`,
	"trailers after a length": `
		> get 1 /trailers?x
		< headers 1 200 content-length=2 trailer=Sum, Content-Length
		< data 1 ok
		< headers 1 end late=2 sum=1`,
	"headers that HTTP/2 has not": `
		> get 1 /headers
		< headers 1 end 200 content-length=0 many=1 many=2`,
	"a handler that wants the connection closed": `
		> get 1 /goodbye
		< goaway 1 NO_ERROR
		< headers 1 end 200 content-length=0
		< closed`,
	"cookies and the host": `
		> get 1 /cookie cookie=a=1 cookie=b=2 host=there a=1 a=2
		< headers 1 200 content-length=24
		< data 1 end here[a=1; b=2] 0 [1 2] 0`,
	"the host's header alone": `
		> headers 1 end :method=GET :scheme=https :path=/cookie host=there
		< headers 1 200 content-length=14
		< data 1 end there[] 0 [] 0`,
	"headers in pieces": `
		> begin 1
		> continue 1 a=b
		> continue 1 end c=d
		< headers 1 end 200 content-length=0`,

	// Bodies that are not what was said.
	"less of a body than told": `
		> post 1 /read content-length=3
		> data 1 end ab
		< rst 1 PROTOCOL_ERROR`,
	"more of a body than told": `
		> post 1 /read content-length=3
		> data 1 abcd
		< rst 1 PROTOCOL_ERROR`,
	"no body, though told": `
		> get 1 / content-length=3
		< rst 1 PROTOCOL_ERROR`,
	"two lengths": `
		> post 1 / content-length=3 content-length=3
		< rst 1 PROTOCOL_ERROR`,
	"trailers before the whole body": `
		> post 1 /read content-length=3
		> headers 1 end a=b
		< rst 1 PROTOCOL_ERROR`,
	"less of an answer than told": `
		> get 1 /short
		< rst 1 INTERNAL_ERROR`,
	"more of an answer than told": `
		> get 1 /long
		< headers 1 200 content-length=5
		< data 1 end abcde`,
	"a body that nobody reads": `
		> post 1 /
		< headers 1 end 200 content-length=0
		< rst 1 NO_ERROR
		> data 1 end too late`,
	"trailers of a body that nobody reads": `
		> post 1 /
		< headers 1 end 200 content-length=0
		< rst 1 NO_ERROR
		> headers 1 end a=b`,
	"a body that is closed": `
		> post 1 /close
		< headers 1 200 content-length=33
		< data 1 end http: invalid Read on closed Body
		< rst 1 NO_ERROR`,
	"a deadline of reading": `
		> post 1 /late
		< headers 1 200 content-length=11
		< data 1 end i/o timeout
		< rst 1 NO_ERROR`,
	"a deadline of writing": `
		> get 1 /slow
		< rst 1 INTERNAL_ERROR`,
	"a panic": `
		> get 1 /panic
		< rst 1 INTERNAL_ERROR
		> get 3 /
		< headers 3 end 200 content-length=0`,
	"an answer that is given up": `
		> get 1 /abort?flush
		< headers 1 200
		< rst 1 INTERNAL_ERROR`,

	// Trailers of requests.
	"trailers that were announced": `
		> post 1 /read trailer=sum,content-length
		> data 1 ab
		> headers 1 end sum=3 other=4
		< headers 1 200 content-length=13
		< data 1 end 2 <nil> Sum=3`,
	"trailers that do not end": `
		> post 1 /read
		> headers 1 a=b
		< rst 1 PROTOCOL_ERROR`,
	"trailers with a path": `
		> post 1 /read
		> headers 1 end :path=/
		< rst 1 PROTOCOL_ERROR`,
	"trailers that are too long": `
		> post 1 /read
		> headers 1 end a=*16380
		< rst 1 PROTOCOL_ERROR`,

	// To go on.
	"whoever expects is told": `
		> post 1 /read expect=100-continue
		< headers 1 100
		> data 1 end ab
		< headers 1 200 content-length=7
		< data 1 end 2 <nil>`,
	"whoever is answered is not": `
		> post 1 / expect=100-continue
		< headers 1 end 200 content-length=0
		< rst 1 NO_ERROR`,
	"nobody is after the answer has begun": `
		> post 1 /both expect=100-continue
		< headers 1 200
		> data 1 end ab
		< data 1 end ab`,

	// Requests that are none.
	"no method":         "> headers 1 end :scheme=https :path=/\n< rst 1 PROTOCOL_ERROR",
	"no scheme":         "> headers 1 end :method=GET :path=/\n< rst 1 PROTOCOL_ERROR",
	"no path":           "> headers 1 end :method=GET :scheme=https\n< rst 1 PROTOCOL_ERROR",
	"an empty path":     "> get 1 " + " :path=\n< rst 1 PROTOCOL_ERROR",
	"a path of no root": "> get 1 abc\n< rst 1 PROTOCOL_ERROR",
	"a path that is a URL": `
		> get 1 https://elsewhere/
		< rst 1 PROTOCOL_ERROR`,
	"a strange scheme":      "> headers 1 end :method=GET :scheme=ftp :path=/\n< rst 1 PROTOCOL_ERROR",
	"a strange method":      "> headers 1 end :method=G(T :scheme=https :path=/\n< rst 1 PROTOCOL_ERROR",
	"a strange host":        "> headers 1 end :method=GET :scheme=https :path=/ :authority=a/b\n< rst 1 PROTOCOL_ERROR",
	"CONNECT":               "> headers 1 end :method=CONNECT :authority=a\n< rst 1 PROTOCOL_ERROR",
	"CONNECT with a path":   "> headers 1 end :method=CONNECT :scheme=https :path=/ :authority=a\n< rst 1 PROTOCOL_ERROR",
	"a protocol":            "> headers 1 end :method=GET :scheme=https :path=/ :protocol=websocket\n< rst 1 PROTOCOL_ERROR",
	"a connection":          "> get 1 / connection=close\n< rst 1 PROTOCOL_ERROR",
	"an upgrade":            "> get 1 / upgrade=websocket\n< rst 1 PROTOCOL_ERROR",
	"a transfer's encoding": "> get 1 / transfer-encoding=chunked\n< rst 1 PROTOCOL_ERROR",
	"te":                    "> get 1 / te=gzip\n< rst 1 PROTOCOL_ERROR\n> get 3 / te=trailers\n< headers 3 end 200 content-length=0",
	"a name in capitals":    "> get 1 / Abc=d\n< rst 1 PROTOCOL_ERROR",
	"headers that are too large": `
		> get 1 / a=*16380
		< headers 1 431 content-length=36
		< data 1 end the request's headers are too large`,
	"headers that are much too large": `
		> begin 1
		> continue 1 a=*12000
		> continue 1 b=*12000
		> continue 1 c=*12000
		> continue 1 end d=*12000
		< goaway 0 PROTOCOL_ERROR
		< closed`,

	// Streams in the wrong state.
	"a stream of the server's":   "> get 2 /\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"a stream that is too small": "> get 3 /\n< headers 3 end 200 content-length=0\n> get 1 /\n< goaway 3 STREAM_CLOSED\n< closed",
	"a stream twice":             "> get 1 /\n< headers 1 end 200 content-length=0\n> get 1 /\n< goaway 1 STREAM_CLOSED\n< closed",
	"headers after the end":      "> get 1 /wait\n> get 1 /\n< rst 1 STREAM_CLOSED",
	"data after the end":         "> get 1 /wait\n> data 1 a\n< rst 1 STREAM_CLOSED",
	"data of a stream that ended": `
		> get 1 /
		< headers 1 end 200 content-length=0
		> data 1 a
		< rst 1 STREAM_CLOSED
		> data 1 a`,
	"data of a stream that was given up": `
		> post 1 /wait
		> rst 1 8
		> data 1 a
		< rst 1 STREAM_CLOSED`,
	"data of no stream":     "> data 1 a\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"a reset of no stream":  "> rst 1 8\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"a window of no stream": "> window 1 8\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"a stream that is given up": `
		> get 1 /wait
		> rst 1 8
		> window 1 5
		> rst 1 8`,
	"a panic after it was given up": `
		> post 1 /read
		> rst 1 8
		> get 3 /
		< headers 3 end 200 content-length=0`,
	"a stream that leans on itself": "> priority 1 1\n< rst 1 PROTOCOL_ERROR",
	"a priority":                    "> priority 1 3\n> priority 5 0",
	"more streams than may be": `
		> get 1 /wait
		> get 3 /wait
		> get 5 /wait
		> get 7 /
		< rst 7 REFUSED_STREAM
		> rst 3 8
		> get 9 /
		< headers 9 end 200 content-length=0`,

	// Frames that are none.
	"no such frame":                 "> frame 77 0 0 00",
	"a promise":                     "> frame 5 4 1 00000002\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"a frame that is too large":     "> post 1 /read\n> data 1 *16385\n< goaway 1 FRAME_SIZE_ERROR\n< closed",
	"settings of seven bytes":       "> frame 4 0 0 00000000000000\n< goaway 0 FRAME_SIZE_ERROR\n< closed",
	"an acknowledgement that tells": "> frame 4 1 0 000100000000\n< goaway 0 FRAME_SIZE_ERROR\n< closed",
	"a ping of a stream":            "> frame 6 0 1 0000000000000000\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"headers that break off":        "> begin 1\n> ping\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"a continuation of nothing":     "> continue 1 end a=b\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"headers that are not":          "> frame 1 5 1 ffffffffffff\n< goaway 0 COMPRESSION_ERROR\n< closed",
	"padding that is too long":      "> post 1 /read\n> frame 0 8 1 ff00\n< goaway 1 PROTOCOL_ERROR\n< closed",
	"a window that grows by none":   "> get 1 /wait\n> window 1 0\n< rst 1 PROTOCOL_ERROR\n> window 0 0\n< goaway 1 PROTOCOL_ERROR\n< closed",

	// Settings.
	"no such setting":            "> settings 99=1\n< ack",
	"settings twice":             "> settings 4=1 4=2 4=1\n< ack\n> get 1 /write?2\n< headers 1 200 content-length=2\n< data 1 \x00\n> window 1 5\n< data 1 end \x00",
	"a push":                     "> settings 2=2\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"a window that is too large": "> settings 4=2147483648\n< goaway 0 FLOW_CONTROL_ERROR\n< closed",
	"a frame that is too small":  "> settings 5=16383\n< goaway 0 PROTOCOL_ERROR\n< closed",
	"too many settings":          "> settings" + strings.Repeat(" 99=1", 101) + "\n< goaway 0 ENHANCE_YOUR_CALM\n< closed",
	"no memory of headers": `
		> settings 1=0
		< ack
		> get 1 /
		< headers 1 end 200 content-length=0
		> get 3 /
		< headers 3 end 200 content-length=0`,

	// Windows.
	"a window of nothing": `
		> settings 4=0
		< ack
		> get 1 /write?3
		< headers 1 200 content-length=3
		> window 1 1
		< data 1` + " \x00" + `
		> window 1 9
		< data 1 end` + " \x00\x00",
	"a window that is opened by settings": `
		> settings 4=0
		< ack
		> get 1 /write?3
		< headers 1 200 content-length=3
		> settings 4=2
		< ack
		< data 1` + " \x00\x00" + `
		> settings 4=1
		< ack
		> settings 4=2
		< ack
		> settings 4=3
		< ack
		< data 1 end` + " \x00",
	"windows that grow too large": `
		> get 1 /wait
		> window 1 2147483647
		< rst 1 FLOW_CONTROL_ERROR
		> window 0 2147483647
		< goaway 1 FLOW_CONTROL_ERROR
		< closed`,
	"settings that make a window too large": `
		> get 1 /wait
		> window 1 2147418112
		> settings 4=65536
		< goaway 1 FLOW_CONTROL_ERROR
		< closed`,
	"the connection's window": `
		> settings 4=100000
		< ack
		> get 1 /write?65535
		< headers 1 200 content-length=65535
		< data 1 *16375
		< data 1 *16375
		< data 1 *16375
		< data 1 *16375
		< data 1 end ` + strings.Repeat("\x00", 35) + `
		> get 3 /write?1
		< headers 3 200 content-length=1
		> window 3 1
		> window 0 1
		< data 3 end` + " \x00",

	// Ends.
	"a ping":               "> ping\n< pong\n> pong",
	"a client that leaves": "> goaway\n< goaway 0 NO_ERROR\n< closed",
	"a client that leaves then": `
		> post 1 /read
		> goaway
		< goaway 1 NO_ERROR
		> post 3 /
		> data 3 a
		> headers 3 end a=b
		> data 1 end ab
		< headers 1 200 content-length=7
		< data 1 end 2 <nil>
		< closed`,
}
