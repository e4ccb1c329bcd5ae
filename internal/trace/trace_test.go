package trace

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type source struct{}

func (source) Uint64() uint64 { return rand.Uint64() }

func tracer(t *testing.T, perMillion int) *Tracer {
	out, err := New(Config{Endpoint: "http://127.0.0.1:4318", PerMillion: perMillion, Rand: source{}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEndpoint(t *testing.T) {
	if e := tracer(t, 0).config.Endpoint; e != "http://127.0.0.1:4318/v1/traces" {
		t.Error(e)
	}
	for _, bad := range []string{"", "127.0.0.1:4318", "grpc://a:1", "http://"} {
		if _, err := New(Config{Endpoint: bad}); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:4318") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Whoever gets a header that is passed on belongs to the same trace.
func TestPassOn(t *testing.T) {
	for _, kept := range []bool{true, false} {
		first := tracer(t, map[bool]int{true: 1e6}[kept]).Start(http.Header{}, time.Time{})
		if first.Kept() != kept {
			t.Fatal("kept", first.Kept())
		}
		if !kept {
			if first.Header() != "" {
				t.Error(first.Header())
			}
			continue
		}
		second := tracer(t, 0).Start(http.Header{Header: {first.Header()}}, time.Time{})
		if !second.Kept() || second.trace != first.trace || second.parent != first.id || second.id == first.id {
			t.Errorf("%+v does not follow %+v", second, first)
		}
	}
}

// Whatever stands in the header, it is read or not; what is read is written again.
func TestParse(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, v := range []string{
		"", "00", good[:54], good + "-", good + "0", strings.ToUpper(good), "ff" + good[2:], strings.Replace(good, "0af7651916cd43dd8448eb211c80319c", strings.Repeat("0", 32), 1),
		strings.Replace(good, "b7ad6b7169203331", strings.Repeat("0", 16), 1), strings.Replace(good, "-01", "-0x", 1), "zz" + good[2:], "01" + good[2:] + "x",
	} {
		var s Span
		if _, ok := s.parse(v); ok {
			t.Errorf("%q is read", v)
		}
	}
	for _, v := range []string{good, "01" + good[2:], "01" + good[2:] + "-more"} {
		var s Span
		if sampled, ok := s.parse(v); !ok || !sampled {
			t.Errorf("%q is not read", v)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var s Span
		s.parse(rapid.String().Draw(t, "header")) // never panics
		s.parse(rapid.StringMatching(`[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}`).Draw(t, "likely"))
	})
}

// A collector that does not keep up costs spans, not memory.
func TestDrop(t *testing.T) {
	tr := tracer(t, 1e6)
	for range most + 7 {
		s := tr.Start(http.Header{}, time.Time{})
		s.End("x", time.Time{}, false)
	}
	n, dropped := 0, 0
	for {
		spans, d := tr.take()
		if n, dropped = n+len(spans), dropped+d; len(spans) == 0 {
			break
		}
	}
	if n != most || dropped != 7 {
		t.Errorf("%d sent, %d dropped", n, dropped)
	}
}
