package apiserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"clipper/internal/auth"
	"clipper/internal/scheme"
	"clipper/internal/store/pebble"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const clients = 20

var kib = strings.Repeat("x", 1024)

func durable(b *testing.B) *cluster {
	b.Helper()
	db, err := pebble.Open(pebble.Config{Dir: b.TempDir() + "/store", Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return startOn(b, db)
}

// side by side, each client on a connection of its own.
func (c *cluster) parallel(b *testing.B, media string, f func(k kubernetes.Interface, client, i int) error) {
	b.Helper()
	ks := make([]kubernetes.Interface, clients)
	for i := range ks {
		ks[i] = c.admin(media)
		if _, err := ks[i].CoreV1().ConfigMaps("default").List(b.Context(), metav1.ListOptions{Limit: 1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	defer cpu(b)()
	var n atomic.Int64
	var wg sync.WaitGroup
	for i, k := range ks {
		wg.Go(func() {
			for {
				j := int(n.Add(1)) - 1
				if j >= b.N {
					return
				}
				if err := f(k, i, j); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// cpu reports what a run cost in processor time, which other work of the
// machine does not blur. It includes the clients.
func cpu(b *testing.B) (report func()) {
	b.Helper()
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	from := used()
	return func() { b.ReportMetric(float64(used()-from)/float64(b.N), "cpu-ns/op") }
}

func aKiB(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Data: map[string]string{"d": kib}}
}

func BenchmarkRequests(b *testing.B) {
	for name, media := range mediaTypes {
		b.Run(name, func(b *testing.B) {
			b.Run("create", func(b *testing.B) {
				durable(b).parallel(b, media, func(k kubernetes.Interface, _, i int) error {
					_, err := k.CoreV1().ConfigMaps("default").Create(b.Context(), aKiB(fmt.Sprint("m", i)), metav1.CreateOptions{})
					return err
				})
			})
			b.Run("update", func(b *testing.B) {
				c := durable(b)
				maps := c.admin(media).CoreV1().ConfigMaps("default")
				own := make([]*corev1.ConfigMap, clients)
				for i := range own {
					var err error
					if own[i], err = maps.Create(b.Context(), aKiB(fmt.Sprint("m", i)), metav1.CreateOptions{}); err != nil {
						b.Fatal(err)
					}
				}
				c.parallel(b, media, func(k kubernetes.Interface, client, i int) error {
					m := own[client]
					m.Data["i"] = fmt.Sprint(i)
					var err error
					own[client], err = k.CoreV1().ConfigMaps("default").Update(b.Context(), m, metav1.UpdateOptions{})
					return err
				})
			})
			b.Run("get", func(b *testing.B) {
				c := durable(b)
				if _, err := c.admin(media).CoreV1().ConfigMaps("default").Create(b.Context(), aKiB("m"), metav1.CreateOptions{}); err != nil {
					b.Fatal(err)
				}
				c.parallel(b, media, func(k kubernetes.Interface, _, i int) error {
					_, err := k.CoreV1().ConfigMaps("default").Get(b.Context(), "m", metav1.GetOptions{})
					return err
				})
			})
			b.Run("delete", func(b *testing.B) {
				c := durable(b)
				maps := c.admin(media).CoreV1().ConfigMaps("default")
				var wg sync.WaitGroup
				for w := range clients {
					wg.Go(func() {
						for i := w; i < b.N; i += clients {
							if _, err := maps.Create(b.Context(), aKiB(fmt.Sprint("m", i)), metav1.CreateOptions{}); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				c.parallel(b, media, func(k kubernetes.Interface, _, i int) error {
					return k.CoreV1().ConfigMaps("default").Delete(b.Context(), fmt.Sprint("m", i), metav1.DeleteOptions{})
				})
			})
		})
	}
}

// fill makes 5,000 ConfigMaps.
func (c *cluster) fill(b *testing.B) {
	b.Helper()
	maps := c.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default")
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := w; i < 5000; i += 50 {
				if _, err := maps.Create(b.Context(), aKiB(fmt.Sprint("m", i)), metav1.CreateOptions{}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkList5000(b *testing.B) {
	c := start(b)
	c.fill(b)
	for name, media := range mediaTypes {
		cfg := c.config(media, "admin", "system:masters")
		h, err := rest.HTTPClientFor(cfg)
		if err != nil {
			b.Fatal(err)
		}
		for _, proto := range []string{"h2", "h1"} {
			b.Run(name+"/"+proto, func(b *testing.B) {
				if proto == "h1" {
					tr := cfg.Transport.(*http.Transport).Clone()
					tr.ForceAttemptHTTP2 = false
					tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
					b.Cleanup(tr.CloseIdleConnections)
					h = &http.Client{Transport: tr}
				}
				b.ReportAllocs()
				defer cpu(b)()
				var n int64
				for b.Loop() {
					req, err := http.NewRequestWithContext(b.Context(), "GET", cfg.Host+"/api/v1/configmaps", nil)
					if err != nil {
						b.Fatal(err)
					}
					req.Header.Set("Accept", media)
					res, err := h.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					if n, err = io.Copy(io.Discard, res.Body); err != nil {
						b.Fatal(err)
					}
					res.Body.Close()
				}
				b.SetBytes(n)
			})
		}
		b.Run(name+"/decoded", func(b *testing.B) {
			maps := c.admin(media).CoreV1().ConfigMaps("")
			defer cpu(b)()
			for b.Loop() {
				if l, err := maps.List(b.Context(), metav1.ListOptions{}); err != nil || len(l.Items) < 5000 {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWatch is how long one event takes to reach 100 watchers; they read
// bytes, as a client written well would.
func BenchmarkWatch(b *testing.B) {
	for name, media := range mediaTypes {
		b.Run(name, func(b *testing.B) {
			c := start(b)
			const watchers = 100
			stream := media
			if media == runtime.ContentTypeProtobuf {
				stream += ";stream=watch"
			}
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			var read atomic.Int64
			enough := make(chan struct{})
			var want atomic.Int64
			for range watchers {
				h, err := rest.HTTPClientFor(c.config(media, "admin", "system:masters"))
				if err != nil {
					b.Fatal(err)
				}
				req, err := http.NewRequestWithContext(ctx, "GET", "https://"+c.addr+"/api/v1/configmaps?watch=1&resourceVersion=0&labelSelector=none", nil)
				if err != nil {
					b.Fatal(err)
				}
				req.URL.RawQuery = "watch=1"
				req.Header.Set("Accept", stream)
				res, err := h.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				wg.Go(func() {
					defer res.Body.Close()
					buf := make([]byte, 64<<10)
					for {
						n, err := res.Body.Read(buf)
						if err != nil {
							return
						}
						if got := read.Add(int64(n)); want.Load() > 0 && got >= want.Load() {
							select {
							case enough <- struct{}{}:
							default:
							}
						}
					}
				})
			}
			maps := c.admin(runtime.ContentTypeProtobuf).CoreV1().ConfigMaps("default")
			m, err := maps.Create(b.Context(), aKiB("m"), metav1.CreateOptions{})
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			b.ReportAllocs()
			defer cpu(b)()
			var writing sync.WaitGroup
			var n atomic.Int64
			for w := range 20 {
				writing.Go(func() {
					m := m.DeepCopy()
					m.Name, m.UID, m.ResourceVersion = fmt.Sprint("w", w), "", ""
					m, err := maps.Create(b.Context(), m, metav1.CreateOptions{})
					if err != nil {
						b.Error(err)
						return
					}
					for n.Add(1) <= int64(b.N) {
						m.Data["i"] = fmt.Sprint(n.Load())
						if m, err = maps.Update(b.Context(), m, metav1.UpdateOptions{}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			writing.Wait()
			// Every event is more than a KiB.
			want.Store(int64(b.N) * watchers * 1024)
			for read.Load() < want.Load() {
				<-enough
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N*watchers)/b.Elapsed().Seconds(), "events/s")
			cancel()
			wg.Wait()
		})
	}
}

// sink is a ResponseWriter that keeps nothing.
type sink struct {
	header http.Header
	code   int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(code int)        { s.code = code }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHandler is what the server itself does, without network or client.
func BenchmarkHandler(b *testing.B) {
	c := start(b)
	h := c.server.Handler()
	ctx := auth.WithUser(b.Context(), &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}})
	do := func(method, path, media string, body []byte) {
		r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		r.RemoteAddr = "in-process"
		r.Header["Accept"] = []string{media}
		r.Header["Content-Type"] = []string{media}
		w := &sink{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.code/100 != 2 {
			b.Fatal(method, path, w.code)
		}
	}
	const maps = "/api/v1/namespaces/default/configmaps"
	for name, media := range mediaTypes {
		mt := scheme.JSON
		if name == "protobuf" {
			mt = scheme.Protobuf
		}
		encode := func(m *corev1.ConfigMap) []byte {
			m.APIVersion, m.Kind = "v1", "ConfigMap"
			body, err := scheme.Encode(nil, mt, m)
			if err != nil {
				b.Fatal(err)
			}
			return body
		}
		b.Run(name+"/create", func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				b.StopTimer()
				body := encode(aKiB(fmt.Sprint(name, b.N, "-", i)))
				b.StartTimer()
				do("POST", maps, media, body)
			}
		})
		b.Run(name+"/update", func(b *testing.B) {
			m := aKiB("u" + name)
			do("POST", maps, media, encode(m))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				b.StopTimer()
				m.Data["i"] = fmt.Sprint(i)
				body := encode(m)
				b.StartTimer()
				do("PUT", maps+"/"+m.Name, media, body)
			}
		})
		b.Run(name+"/get", func(b *testing.B) {
			do("POST", maps, media, encode(aKiB("g"+name)))
			b.ReportAllocs()
			for b.Loop() {
				do("GET", maps+"/g"+name, media, nil)
			}
		})
	}
}
