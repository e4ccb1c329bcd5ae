package client

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// Requests counts the requests that clients of this process make of API servers.
type Requests struct {
	clock    clock.PassiveClock
	manners  measure.Set[manner, took]
	outcomes measure.Set[outcome, atomic.Uint64]
}

// manner is what requests are told apart by, outcome with what became of them.
// Components use few methods and servers.
type manner struct{ method, host string }

type outcome struct {
	manner
	code int // 0 without an answer
}

// took is how long requests of a manner took to the head of their answer, and
// the sizes of the bodies that are whole.
type took struct{ time, sent, received *measure.Histogram }

// Bounds, which are upstream's: of seconds, and of bytes.
var (
	latencyBounds = []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60}
	bodyBounds    = []float64{64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216}
)

func newTook(manner) *took {
	return &took{measure.Seconds(latencyBounds), measure.Sizes(bodyBounds), measure.Sizes(bodyBounds)}
}

func newCount(outcome) *atomic.Uint64 { return new(atomic.Uint64) }

// NewRequests returns counts of none.
func NewRequests(c clock.PassiveClock) *Requests { return &Requests{clock: c} }

// Count has the requests of a configuration's clients counted, and returns it.
func (q *Requests) Count(c *rest.Config) *rest.Config {
	if t, ok := c.Transport.(*transport); ok {
		t.requests = q // a Creator does not pass through what is wrapped around it
		return c
	}
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counted{next, q} })
	return c
}

// answered counts a request that began then, and its answer: its code, and its
// size unless that is not known.
func (q *Requests) answered(r *http.Request, began time.Time, code int, size int64) *took {
	m := manner{r.Method, r.URL.Host}
	if m.host == "" {
		m.host = r.Host
	}
	t := q.manners.Get(m, newTook)
	t.time.Took(q.clock.Since(began))
	if r.ContentLength >= 0 {
		t.sent.Add(r.ContentLength)
	}
	if size >= 0 {
		t.received.Add(size)
	}
	q.outcomes.Get(outcome{m, code}, newCount).Add(1)
	return t
}

// counted is a RoundTripper whose requests are counted.
type counted struct {
	next http.RoundTripper
	*Requests
}

// WrappedRoundTripper is how client-go looks for what it wraps.
func (c *counted) WrappedRoundTripper() http.RoundTripper { return c.next }

// RoundTrip implements http.RoundTripper.
func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	began := c.clock.Now()
	res, err := c.next.RoundTrip(r)
	if err != nil {
		c.answered(r, began, 0, -1)
		return nil, err
	}
	if streams(r) || res.StatusCode == http.StatusSwitchingProtocols {
		c.answered(r, began, res.StatusCode, -1)
		return res, nil
	}
	if t := c.answered(r, began, res.StatusCode, res.ContentLength); res.ContentLength < 0 {
		res.Body = &sized{ReadCloser: res.Body, size: t.received}
	}
	return res, nil
}

// sized is a body whose size is counted once it was read.
type sized struct {
	io.ReadCloser
	n    int64
	size *measure.Histogram // nil once counted
}

func (s *sized) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.n += int64(n)
	if err == io.EOF && s.size != nil {
		s.size.Add(s.n)
		s.size = nil
	}
	return n, err
}

// Collector returns upstream's metrics of clients.
func (q *Requests) Collector() prometheus.Collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rest_client_"+name, help, labels, nil)
	}
	total := d("requests_total", "Number of HTTP requests, partitioned by status code, method, and host.", "code", "method", "host")
	latency := d("request_duration_seconds", "Request latency in seconds. Broken down by verb, and host.", "verb", "host")
	sent := d("request_size_bytes", "Request size in bytes. Broken down by verb and host.", "verb", "host")
	received := d("response_size_bytes", "Response size in bytes. Broken down by verb and host.", "verb", "host")
	return measure.Collector(func(out measure.Out) {
		for o, n := range q.outcomes.All() {
			code := "<error>"
			if o.code != 0 {
				code = strconv.Itoa(o.code)
			}
			out.Counter(total, n.Load(), code, o.method, o.host)
		}
		for m, t := range q.manners.All() {
			out.Histogram(latency, t.time, m.method, m.host)
			out.Histogram(sent, t.sent, m.method, m.host)
			out.Histogram(received, t.received, m.method, m.host)
		}
	})
}
