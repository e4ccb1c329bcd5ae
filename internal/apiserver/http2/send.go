package http2

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// send composes the answer's headers if they are due, and what was gathered of
// its body, as fast as the client's windows allow.
func (st *stream) send(w *response, end bool) error {
	c, k := st.c, &w.body
	defer k.free()
	var trailer []hpack.HeaderField
	if end {
		trailer = w.trailer()
	}
	for {
		all := k.size()
		n, err := c.take(st, all, !w.due, end)
		if err != nil {
			return err
		}
		if err := c.out.begin(); err != nil {
			return err
		}
		if st.over.Load() { // nothing may follow its end
			c.out.cancel()
			return c.untake(st, n)
		}
		last := end && n == all
		ends := last && trailer == nil // with HEADERS or DATA
		if w.due {
			w.due, st.answered = false, true
			c.out.answer(st.id, w, ends && n == 0)
		} else if ends && n == 0 {
			c.out.data(st.id, nil, true)
		}
		c.out.body(st.id, k, n, ends)
		if last && !ends {
			c.out.fields(trailer)
			c.out.headerBlock(st.id, true)
		}
		if err := c.out.commit(); err != nil || n == all {
			return err
		}
	}
}

// body composes n bytes of a chunk.
func (w *writer) body(id uint32, k *chunk, n int, end bool) {
	if n > little && n == k.size() && k.sent == 0 {
		w.hand(k.frames(id, end))
		return
	}
	for n > 0 {
		p := k.next(n)
		n -= len(p)
		w.data(id, p, end && n == 0)
	}
}

// answer composes an answer's headers.
func (w *writer) answer(id uint32, a *response, end bool) {
	w.field(":status", strconv.Itoa(a.code))
	w.fields(a.fields)
	if !a.dated {
		w.field("date", w.date())
	}
	w.headerBlock(id, end)
}

// informational composes an answer before the last, if that may be.
func (w *writer) informational(st *stream, code int, h http.Header) error {
	if err := w.begin(); err != nil {
		return err
	}
	if st.answered || st.over.Load() {
		w.cancel()
		return nil
	}
	w.field(":status", strconv.Itoa(code))
	w.fields(appendFields(nil, h, nil))
	w.headerBlock(st.id, false)
	return w.commit()
}

// appendFields appends headers, but for Content-Length and those that follow
// the body.
func appendFields(to []hpack.HeaderField, h http.Header, later []string) []hpack.HeaderField {
	for name, values := range h {
		if name == "Content-Length" || strings.HasPrefix(name, http.TrailerPrefix) || slices.Contains(later, name) {
			continue
		}
		for _, v := range values {
			to = append(to, hpack.HeaderField{Name: name, Value: v})
		}
	}
	return to
}

// fields compresses headers, but for those that HTTP/2 has not.
func (w *writer) fields(all []hpack.HeaderField) {
	for _, f := range all {
		if name := w.lowerCase(f.Name); name != "" && httpguts.ValidHeaderFieldValue(f.Value) {
			w.field(name, f.Value)
		}
	}
}

// lowerCase returns a header's name as HTTP/2 has it, or nothing if it has not
// (RFC 9113, 8.2.2).
func (w *writer) lowerCase(name string) string {
	if v, ok := w.names[name]; ok {
		return v
	}
	v := strings.ToLower(name)
	switch v {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		v = ""
	}
	if !httpguts.ValidHeaderFieldName(v) {
		v = ""
	}
	if len(w.names) < mostNames && len(name) <= longestName {
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
