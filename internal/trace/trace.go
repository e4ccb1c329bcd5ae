// Package trace tells an OpenTelemetry collector of what this process does, by
// OTLP over HTTP, and carries the context of a trace from caller to callee by
// the header that W3C Trace Context defines.
//
// It is a small exporter of our own: the SDK with its exporter is megabytes of
// generated code for messages of which a dozen fields are used here, and it
// wakes up while there is nothing to tell. Spans are gathered and sent together;
// when the collector does not keep up they are dropped, and requests never wait.
package trace

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Header is the name, as net/http writes it, of the header that carries a
// trace's context.
const Header = "Traceparent"

const (
	// gather is how long spans wait for others before they are sent.
	gather = 2 * time.Second
	// most is how many spans may wait; batch is how many are sent at once.
	most, batch = 4096, 512
	// sendWithin bounds one sending.
	sendWithin = 10 * time.Second
)

// Config is what a Tracer is made of.
type Config struct {
	// Endpoint is the collector's URL, such as http://127.0.0.1:4318; without a
	// path, the usual one is added.
	Endpoint string
	// PerMillion of the traces that begin here are kept. Whoever calls with a
	// trace decides for it.
	PerMillion int
	// Service names this process.
	Service string

	Client *http.Client // nil is one of its own
	Clock  clock.WithTicker
	Rand   rand.Source // safe for concurrent use
	Logger *slog.Logger
}

// Tracer makes spans. It is safe for concurrent use.
type Tracer struct {
	config Config
	bell   chan struct{} // rung when there is something to send

	mu      sync.Mutex
	ended   []Span
	dropped int
}

// New returns a Tracer that sends nothing until Run.
func New(c Config) (*Tracer, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("tracing endpoint %q: want a URL such as http://127.0.0.1:4318", c.Endpoint)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	c.Endpoint = u.String()
	if c.Client == nil {
		c.Client = &http.Client{Timeout: sendWithin}
	}
	return &Tracer{config: c, bell: make(chan struct{}, 1)}, nil
}

// Span is something that takes time. The zero value is of no trace, and tells
// nobody of anything.
type Span struct {
	t      *Tracer
	trace  [16]byte
	id     [8]byte
	parent [8]byte
	name   string
	begun  time.Time
	over   time.Time
	failed bool
	attrs  []Attribute
}

// Attribute is something known about a span. Text counts if it is not empty.
type Attribute struct {
	Key    string
	Text   string
	Number int64
}

// Start begins a span of the trace that the header speaks of, or of a new one.
// The span is nobody's if the trace is not kept.
func (t *Tracer) Start(h http.Header, now time.Time) Span {
	s := Span{begun: now}
	if v := h[Header]; len(v) == 1 {
		sampled, ok := s.parse(v[0])
		if ok {
			if sampled {
				s.t = t
			}
			t.fill(s.id[:])
			return s
		}
	}
	if t.config.Rand.Uint64()%1e6 >= uint64(t.config.PerMillion) {
		return Span{}
	}
	s.t = t
	t.fill(s.trace[:])
	t.fill(s.id[:])
	return s
}

func (t *Tracer) fill(b []byte) {
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], t.config.Rand.Uint64()|1) // never all zero
	}
}

// parse reads VERSION-TRACE-PARENT-FLAGS, all in hexadecimal.
func (s *Span) parse(v string) (sampled, ok bool) {
	if len(v) < 55 || len(v) > 55 && (v[:2] == "00" || v[55] != '-') || v[:2] == "ff" || v[2] != '-' || v[35] != '-' || v[52] != '-' || strings.ToLower(v) != v {
		return false, false
	}
	var trace [16]byte
	var parent [8]byte
	if _, err := hex.Decode(trace[:], []byte(v[3:35])); err != nil || trace == [16]byte{} {
		return false, false
	}
	if _, err := hex.Decode(parent[:], []byte(v[36:52])); err != nil || parent == [8]byte{} {
		return false, false
	}
	flags, err := strconv.ParseUint(v[53:55], 16, 8)
	if _, verr := strconv.ParseUint(v[:2], 16, 8); err != nil || verr != nil {
		return false, false
	}
	s.trace, s.parent = trace, parent
	return flags&1 == 1, true
}

// Kept tells whether anybody will hear of the span.
func (s *Span) Kept() bool { return s.t != nil }

// Header is the value that makes a callee's spans children of this one.
func (s *Span) Header() string {
	if s.trace == [16]byte{} {
		return ""
	}
	flags := "-00"
	if s.t != nil {
		flags = "-01"
	}
	return "00-" + hex.EncodeToString(s.trace[:]) + "-" + hex.EncodeToString(s.id[:]) + flags
}

// End tells of the span, under its name.
func (s *Span) End(name string, now time.Time, failed bool, attrs ...Attribute) {
	t := s.t
	if t == nil {
		return
	}
	s.name, s.over, s.failed, s.attrs = name, now, failed, attrs
	t.mu.Lock()
	if len(t.ended) < most {
		t.ended = append(t.ended, *s)
	} else {
		t.dropped++
	}
	t.mu.Unlock()
	select {
	case t.bell <- struct{}{}:
	default:
	}
}
