package http2

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// send composes the answer's headers if they are due, and what was gathered of
// its body, as fast as the client's windows allow.
func (st *stream) send(w *response, end bool) error {
	c, k := st.c, &w.body
	defer k.free()
	for {
		all := k.size()
		n, err := c.take(st, all, !w.due)
		if err != nil {
			return err
		}
		if err := c.out.begin(); err != nil {
			return err
		}
		var trailer http.Header
		last := end && n == all
		if last {
			trailer = w.trailer()
		}
		last = last && trailer == nil // then DATA or HEADERS is what ends it
		if w.due {
			w.due = false
			w.ended = last && n == 0
			c.out.answer(st.id, w.code, w.header, w.trailers, w.ended)
		}
		switch {
		case n > little && n == all && k.sent == 0:
			c.out.hand(k.frames(st.id, last))
			w.ended = last
		default:
			for left := n; left > 0; {
				p := k.next(left)
				left -= len(p)
				w.ended = last && left == 0
				c.out.data(st.id, p, w.ended)
			}
		}
		switch {
		case trailer != nil:
			c.out.fields(trailer, nil)
			c.out.headerBlock(st.id, true)
			w.ended = true
		case last && !w.ended:
			c.out.data(st.id, nil, true)
			w.ended = true
		}
		err = c.out.commit()
		if w.ended {
			c.sentAll(st)
		}
		if err != nil || n == all {
			return err
		}
	}
}

// trailer returns the headers that follow the body, or nil.
func (w *response) trailer() http.Header {
	var t http.Header
	add := func(name string, v []string) {
		if t == nil {
			t = http.Header{}
		}
		t[name] = v
	}
	for _, name := range w.trailers {
		if v := w.header[name]; v != nil {
			add(name, v)
		}
	}
	for name, v := range w.header {
		if after, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			if after = http.CanonicalHeaderKey(after); httpguts.ValidTrailerHeader(after) {
				add(after, v)
			}
		}
	}
	return t
}

// answer composes an answer's headers.
func (w *writer) answer(id uint32, code int, h http.Header, trailers []string, end bool) {
	w.field(":status", strconv.Itoa(code))
	w.fields(h, trailers)
	if _, ok := h["Date"]; !ok {
		w.field("date", w.date())
	}
	w.headerBlock(id, end)
}

// informational composes an answer before the last.
func (w *writer) informational(id uint32, code int, h http.Header) error {
	if err := w.begin(); err != nil {
		return err
	}
	w.field(":status", strconv.Itoa(code))
	w.fields(h, nil)
	w.headerBlock(id, false)
	return w.commit()
}

// fields compresses headers that HTTP/2 has (RFC 9113, 8.2.2), but for those
// that follow the body.
func (w *writer) fields(h http.Header, later []string) {
	for name, values := range h {
		lower := w.lowerCase(name)
		switch lower {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			continue
		}
		if strings.HasPrefix(name, http.TrailerPrefix) || slices.Contains(later, name) || !httpguts.ValidHeaderFieldName(lower) {
			continue
		}
		for _, v := range values {
			if httpguts.ValidHeaderFieldValue(v) {
				w.field(lower, v)
			}
		}
	}
}

// lowerCase returns a header's name as HTTP/2 has it.
func (w *writer) lowerCase(name string) string {
	if v, ok := w.names[name]; ok {
		return v
	}
	v := strings.ToLower(name)
	if len(w.names) < mostNames {
		w.names[name] = v
	}
	return v
}

// date is the time as a header, made once a second.
func (w *writer) date() string {
	now := w.clock.Now()
	if s := now.Unix(); s != w.second {
		w.second, w.dateText = s, now.UTC().Format(http.TimeFormat)
	}
	return w.dateText
}
