package http2_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
)

// BenchmarkServers sets this server beside net/http's. Allocations are those of
// the client, which is net/http's in both, and the server.
func BenchmarkServers(b *testing.B) {
	list, small := make([]byte, 5_500_000), make([]byte, 1024)
	const events = 1000
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		switch r.URL.Path {
		case "/list":
			for at := 0; at < len(list); at += 1100 { // an object each
				_, _ = w.Write(list[at : at+1100])
			}
		case "/small":
			w.Header()["Content-Length"] = []string{strconv.Itoa(len(small))}
			_, _ = w.Write(small)
		case "/events":
			for range events {
				_, _ = w.Write(small)
				w.(http.Flusher).Flush()
			}
		}
	})
	theirs := httptest.NewUnstartedServer(h)
	theirs.EnableHTTP2 = true
	theirs.StartTLS()
	defer theirs.Close()
	for _, c := range []struct {
		name, path string
		size       int
		parallel   bool
	}{
		{"list of 5.5 MB", "/list", len(list), false},
		{"1 KiB", "/small", len(small), false},
		{"1 KiB, many at once", "/small", len(small), true},
		{"1000 events of 1 KiB", "/events", events * len(small), false},
	} {
		for _, s := range []struct {
			name string
			*httptest.Server
		}{{"ours", serve(b, h)}, {"net/http", theirs}} {
			b.Run(c.name+"/"+s.name, func(b *testing.B) {
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				client := s.Client()
				get := func() {
					res, err := client.Get(s.URL + c.path)
					if err != nil {
						b.Error(err)
						return
					}
					if n, err := io.Copy(io.Discard, res.Body); n != int64(c.size) {
						b.Error(n, err)
					}
					res.Body.Close()
				}
				get()
				if !c.parallel {
					for b.Loop() {
						get()
					}
					return
				}
				b.SetParallelism(32)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						get()
					}
				})
			})
		}
	}
}
