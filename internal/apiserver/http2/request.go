package http2

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headers begins a request, or ends one with its trailers.
func (c *conn) headers(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if f.HasPriority() && f.Priority.StreamDep == id {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	c.mu.Lock()
	if id <= c.last {
		defer c.mu.Unlock()
		return c.trailers(f)
	}
	c.last = id
	// Of streams that their client gave up, handlers may be under way still.
	leaving, full := c.leaving, c.open >= c.MaxStreams || c.running >= 2*c.MaxStreams
	c.refused++
	if !full {
		c.refused = 0
	}
	refused := c.refused
	c.mu.Unlock()
	switch {
	case leaving:
		return nil // it was told that this will not be answered
	case refused > mostRefused:
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	case full:
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	st := &stream{c: c, id: id, declared: -1, recvWindow: readWindow}
	st.changed.L = &c.mu
	handler := c.handler
	r, err := c.request(st, f)
	if err != nil {
		return err
	}
	if f.Truncated {
		handler = http.HandlerFunc(tooLarge)
	}
	w := &response{st: st, head: r.Method == http.MethodHead}
	c.mu.Lock()
	st.sendWindow = c.firstSend
	st.received = f.StreamEnded()
	c.streams[id] = st
	c.open++
	c.running++
	c.idle = 0
	c.mu.Unlock()
	c.begin(task{c, handler, st, w, r})
	return nil
}

func tooLarge(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "the request's headers are too large", http.StatusRequestHeaderFieldsTooLarge)
}

// trailers ends a request; mu is held.
func (c *conn) trailers(f *http2.MetaHeadersFrame) error {
	st := c.streams[f.StreamID]
	switch {
	case st == nil && c.unaware(f.StreamID):
		return nil
	case st == nil, st.whole():
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case st.received:
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeStreamClosed}
	case !f.StreamEnded(), f.Truncated, len(f.PseudoFields()) > 0, st.declared >= 0 && st.came < st.declared:
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	for _, h := range f.RegularFields() {
		st.trailers = append(st.trailers, hpack.HeaderField{Name: c.canonical(h.Name), Value: h.Value})
	}
	c.receivedAll(st)
	return nil
}

// request makes a request of its headers (RFC 9113, 8.3). Errors:
// http2.StreamError.
func (c *conn) request(st *stream, f *http2.MetaHeadersFrame) (*http.Request, error) {
	malformed := http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	var method, scheme, authority, path string
	for _, h := range f.PseudoFields() {
		switch h.Name {
		case ":method":
			method = h.Value
		case ":scheme":
			scheme = h.Value
		case ":authority":
			authority = h.Value
		case ":path":
			path = h.Value
		default:
			return nil, malformed
		}
	}
	regular := f.RegularFields()
	header := make(http.Header, len(regular))
	values := make([]string, len(regular)) // of all headers that come once
	for i, h := range regular {
		switch h.Name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			return nil, malformed
		case "te":
			if h.Value != "trailers" {
				return nil, malformed
			}
		}
		name := c.canonical(h.Name)
		if had := header[name]; had != nil {
			header[name] = append(had, h.Value)
			continue
		}
		values[i] = h.Value
		header[name] = values[i : i+1 : i+1]
	}
	if authority == "" {
		authority = header.Get("Host")
	}
	delete(header, "Host")
	if cookies := header["Cookie"]; len(cookies) > 1 {
		header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	if f.Truncated {
		method, path, scheme = http.MethodGet, "/", "https" // nobody reads them
	}
	switch {
	case path == "", path[0] != '/' && path != "*", scheme != "http" && scheme != "https",
		!httpguts.ValidHeaderFieldName(method), method == http.MethodConnect,
		!httpguts.ValidHostHeader(authority):
		return nil, malformed
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, malformed
	}
	if l := header["Content-Length"]; l != nil {
		n, err := strconv.ParseUint(l[0], 10, 63)
		if err != nil || len(l) > 1 || f.StreamEnded() && n != 0 {
			return nil, malformed
		}
		st.declared = int64(n)
	}
	ctx, cancel := context.WithCancel(c.base)
	st.cancel = cancel
	r := new(http.Request).WithContext(ctx)
	r.Method, r.URL, r.RequestURI, r.Host = method, u, path, authority
	r.Proto, r.ProtoMajor = "HTTP/2.0", 2
	r.Header, r.TLS, r.RemoteAddr = header, c.tls, c.remote
	if v := header["Expect"]; v != nil && strings.EqualFold(v[0], "100-continue") {
		st.expects = true
		delete(header, "Expect")
	}
	if v := header["Trailer"]; v != nil {
		st.trailer = http.Header{}
		for _, list := range v {
			for name := range strings.SplitSeq(list, ",") {
				if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); httpguts.ValidTrailerHeader(name) {
					st.trailer[name] = nil
				}
			}
		}
		r.Trailer = st.trailer
		delete(header, "Trailer")
	}
	if f.StreamEnded() {
		r.Body = http.NoBody
		return r, nil
	}
	r.Body, r.ContentLength = st, st.declared
	return r, nil
}

// mostNames bounds how many names of headers a connection remembers, and
// longestName how long they may be.
const mostNames, longestName = 64, 64

// canonical returns a header's name as Go's maps have it. Only the reader calls it.
func (c *conn) canonical(name string) string {
	if v, ok := c.names[name]; ok {
		return v
	}
	v := textproto.CanonicalMIMEHeaderKey(name)
	if len(c.names) < mostNames && len(name) <= longestName {
		c.names[name] = v
	}
	return v
}
