package system

import (
	"math/rand/v2"

	"clipper/internal/run"
	"clipper/internal/trace"
)

// tracer returns what the API server tells of requests, or nil if nobody wants
// to hear.
func (p *process) tracer() (*trace.Tracer, error) {
	if p.Server.Tracing == "" {
		return nil, nil
	}
	t, err := trace.New(trace.Config{
		Endpoint: p.Server.Tracing, PerMillion: p.Server.TracingRate, Service: "apiserver",
		Clock: p.clock, Rand: entropy{}, Logger: p.log,
	})
	if err != nil {
		return nil, err
	}
	p.group.Add(run.Part{Name: "tracing", Run: t.Run})
	return t, nil
}

// entropy is math/rand/v2's own source, which is safe for concurrent use.
type entropy struct{}

func (entropy) Uint64() uint64 { return rand.Uint64() }
