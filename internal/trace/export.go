package trace

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Run sends spans until ctx ends, and then what is left.
func (t *Tracer) Run(ctx context.Context) error {
	working := true
	for {
		select {
		case <-t.bell:
		case <-ctx.Done():
			return t.last(ctx)
		}
		timer := t.config.Clock.NewTimer(gather)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return t.last(ctx)
		}
		for {
			spans, dropped := t.take()
			if len(spans) == 0 {
				break
			}
			err := t.send(ctx, spans)
			if ctx.Err() != nil {
				return nil
			}
			// Once when it begins and once when it is over.
			if ok := err == nil; ok != working {
				if working = ok; ok {
					t.config.Logger.Info("the collector of traces answers again")
				} else {
					t.config.Logger.Warn("traces cannot be sent", "endpoint", t.config.Endpoint, "err", err)
				}
			}
			if dropped > 0 {
				t.config.Logger.Warn("more spans than the collector takes", "dropped", dropped)
			}
		}
	}
}

// last sends what is left when the process ends; nobody is told if it fails.
func (t *Tracer) last(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gather)
	defer cancel()
	for {
		spans, _ := t.take()
		if len(spans) == 0 || t.send(ctx, spans) != nil {
			return nil
		}
	}
}

func (t *Tracer) take() (spans []Span, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.ended), batch)
	spans = append(spans, t.ended[:n]...)
	rest := copy(t.ended, t.ended[n:])
	clear(t.ended[rest:])
	if t.ended = t.ended[:rest]; rest == 0 {
		t.ended = nil
	}
	dropped, t.dropped = t.dropped, 0
	return spans, dropped
}

func (t *Tracer) send(ctx context.Context, spans []Span) error {
	body, err := json.Marshal(t.message(spans))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.config.Endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := t.config.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answers %s", res.Status)
	}
	return nil
}

// The message of OTLP 1.0 in JSON: ids are hexadecimal, and 64-bit numbers are
// strings.
type (
	message struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource   resource     `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	resource struct {
		Attributes []attribute `json:"attributes"`
	}
	scopeSpans struct {
		Scope scope  `json:"scope"`
		Spans []span `json:"spans"`
	}
	scope struct {
		Name string `json:"name"`
	}
	span struct {
		TraceID      string      `json:"traceId"`
		SpanID       string      `json:"spanId"`
		ParentSpanID string      `json:"parentSpanId,omitempty"`
		Name         string      `json:"name"`
		Kind         int         `json:"kind"`
		Start        string      `json:"startTimeUnixNano"`
		End          string      `json:"endTimeUnixNano"`
		Attributes   []attribute `json:"attributes,omitempty"`
		Status       *status     `json:"status,omitempty"`
	}
	attribute struct {
		Key   string `json:"key"`
		Value value  `json:"value"`
	}
	value struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
	}
	status struct {
		Code int `json:"code"`
	}
)

const (
	kindServer  = 2
	statusError = 2
)

func (t *Tracer) message(spans []Span) message {
	out := make([]span, 0, len(spans))
	for i := range spans {
		s := &spans[i]
		o := span{
			TraceID: hex.EncodeToString(s.trace[:]), SpanID: hex.EncodeToString(s.id[:]), Name: s.name, Kind: kindServer,
			Start: strconv.FormatInt(s.begun.UnixNano(), 10), End: strconv.FormatInt(s.over.UnixNano(), 10),
		}
		if s.parent != [8]byte{} {
			o.ParentSpanID = hex.EncodeToString(s.parent[:])
		}
		for _, a := range s.attrs {
			o.Attributes = append(o.Attributes, attribute{a.Key, valueOf(a)})
		}
		if s.failed {
			o.Status = &status{statusError}
		}
		out = append(out, o)
	}
	service := valueOf(Attribute{Text: t.config.Service})
	return message{[]resourceSpans{{
		Resource:   resource{[]attribute{{"service.name", service}}},
		ScopeSpans: []scopeSpans{{Scope: scope{"clipper"}, Spans: out}},
	}}}
}

func valueOf(a Attribute) value {
	if a.Text != "" {
		return value{String: &a.Text}
	}
	n := strconv.FormatInt(a.Number, 10)
	return value{Int: &n}
}
