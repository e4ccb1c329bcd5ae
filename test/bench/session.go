package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// session is a connection of HTTP/2 over TLS that makes one request after
// another. Clients share the machine's processors with the server that is
// measured, and net/http's costs more than twice what the server does: this one
// composes a request into one record, takes an answer's frames out of a large
// buffer, and grants windows seldom. To the server it is a client like any.
type session struct {
	net    *tls.Conn
	host   string
	token  string       // of a client without a certificate
	out    bytes.Buffer // frames of the request that is composed
	block  bytes.Buffer
	enc    *hpack.Encoder
	dec    *hpack.Decoder
	buf    []byte // what was read; of it, from at to end is still to be handled
	at     int
	end    int
	stream uint32
	owed   int // bytes that came since the connection's window was last granted
}

const (
	frameHeader = 9
	// granted is every window that the server is given; half of the connection's
	// is granted again.
	granted = 1 << 30
)

// session begins a connection.
func (c *cluster) session(ctx context.Context) (*session, error) {
	cfg, err := c.rest("")
	if err != nil {
		return nil, err
	}
	t, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(cfg.Host)
	if err != nil {
		return nil, err
	}
	t.NextProtos = []string{http2.NextProtoTLS}
	t.ServerName = at.Hostname()
	n, err := cfg.Dial(ctx, "tcp", at.Host)
	if err != nil {
		return nil, err
	}
	s := &session{net: tls.Client(n, t), host: at.Host, token: cfg.BearerToken, buf: make([]byte, 256<<10)}
	s.enc, s.dec = hpack.NewEncoder(&s.block), hpack.NewDecoder(4096, nil)
	if err := s.net.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	f := http2.NewFramer(&s.out, nil)
	s.out.WriteString(http2.ClientPreface)
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: granted}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	_ = f.WriteWindowUpdate(0, granted-65535)
	return s, s.flush()
}

func (c *cluster) sessions(ctx context.Context, n int) (all []*session, err error) {
	for range n {
		s, err := c.session(ctx)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func closeAll(all []*session) {
	for _, s := range all {
		s.Close()
	}
}

func (s *session) Close() error { return s.net.Close() }

func (s *session) flush() error {
	_, err := s.net.Write(s.out.Bytes())
	s.out.Reset()
	return err
}

// do makes a request and returns how long its answer's body is, unless it is
// an error. each, if set, is given nil once the answer has begun, and then the
// body's pieces as they come; they are valid until it returns.
func (s *session) do(method, path, form string, body []byte, each func([]byte)) (size int, err error) {
	s.stream += 2
	id := s.stream - 1
	s.block.Reset()
	field := func(name, value string) { _ = s.enc.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	field(":method", method)
	field(":scheme", "https")
	field(":authority", s.host)
	field(":path", path)
	field("accept", form)
	field("user-agent", "bench")
	if body != nil {
		field("content-type", form)
	}
	if s.token != "" {
		field("authorization", "Bearer "+s.token)
	}
	flags := http2.FlagHeadersEndHeaders
	if body == nil {
		flags |= http2.FlagHeadersEndStream
	}
	s.compose(http2.FrameHeaders, flags, id, s.block.Bytes())
	if body != nil { // the objects of the measurements fit a frame
		s.compose(http2.FrameData, http2.FlagDataEndStream, id, body)
	}
	if err := s.flush(); err != nil {
		return 0, err
	}
	status, refusal := 0, []byte(nil)
	for {
		t, flags, of, p, err := s.frame()
		if err != nil {
			return size, err
		}
		switch t {
		case http2.FrameHeaders:
			fields, err := s.dec.DecodeFull(p)
			if err != nil {
				return size, err
			}
			for _, f := range fields {
				if f.Name == ":status" && of == id {
					status, _ = strconv.Atoi(f.Value)
				}
			}
			if each != nil && status < 300 {
				each(nil)
			}
		case http2.FrameData:
			s.grant(len(p))
			switch {
			case status >= 300:
				refusal = append(refusal, p...)
			case each != nil:
				each(p)
			}
			size += len(p)
		case http2.FrameSettings:
			if !flags.Has(http2.FlagSettingsAck) {
				s.compose(t, http2.FlagSettingsAck, 0, nil)
			}
		case http2.FramePing:
			if !flags.Has(http2.FlagPingAck) {
				s.compose(t, http2.FlagPingAck, 0, p)
			}
		case http2.FrameRSTStream, http2.FrameGoAway:
			if t == http2.FrameGoAway && binary.BigEndian.Uint32(p[4:]) == uint32(http2.ErrCodeNo) {
				break // the answer comes yet
			}
			return size, fmt.Errorf("%v: % x", t, p)
		}
		if s.out.Len() > 0 {
			if err := s.flush(); err != nil {
				return size, err
			}
		}
		if of == id && flags.Has(http2.FlagDataEndStream) && (t == http2.FrameHeaders || t == http2.FrameData) {
			if status < 200 || status >= 300 {
				return 0, fmt.Errorf("%s %s: %d: %s", method, path, status, refusal)
			}
			return size, nil
		}
	}
}

func (s *session) compose(t http2.FrameType, flags http2.Flags, id uint32, p []byte) {
	n := len(p)
	s.out.Write(binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), byte(t), byte(flags)}, id))
	s.out.Write(p)
}

// grant composes what gives the server back what it has used of the connection's
// window, once it is worth it.
func (s *session) grant(n int) {
	if s.owed += n; s.owed >= granted/2 {
		s.compose(http2.FrameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(s.owed)))
		s.owed = 0
	}
}

// frame returns the next frame; p is valid until it is called again.
func (s *session) frame() (t http2.FrameType, flags http2.Flags, id uint32, p []byte, err error) {
	if err := s.have(frameHeader); err != nil {
		return 0, 0, 0, nil, err
	}
	h := s.buf[s.at:]
	n := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	if frameHeader+n > len(s.buf) {
		return 0, 0, 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	t, flags, id = http2.FrameType(h[3]), http2.Flags(h[4]), binary.BigEndian.Uint32(h[5:])
	if err := s.have(frameHeader + n); err != nil {
		return 0, 0, 0, nil, err
	}
	p = s.buf[s.at+frameHeader : s.at+frameHeader+n]
	s.at += frameHeader + n
	return t, flags, id, p, nil
}

// have reads until n bytes are there.
func (s *session) have(n int) error {
	if s.end-s.at < n && s.at+n > len(s.buf) || s.at == s.end {
		s.end = copy(s.buf, s.buf[s.at:s.end])
		s.at = 0
	}
	for s.end-s.at < n {
		k, err := s.net.Read(s.buf[s.end:])
		s.end += k
		if err != nil && s.end-s.at < n {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// encoded is an object as clients of Go send it.
func encoded(o runtime.Object) []byte {
	if kind := o.GetObjectKind(); kind.GroupVersionKind().Empty() {
		kinds, _, err := scheme.Scheme.ObjectKinds(o)
		if err != nil {
			panic(err) // one of the measurements' own
		}
		kind.SetGroupVersionKind(kinds[0])
	}
	var b bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(o, &b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (s *session) create(path string, o runtime.Object) error {
	_, err := s.do("POST", path, runtime.ContentTypeProtobuf, encoded(o), nil)
	return err
}

// remove deletes what has a label.
func (s *session) remove(path, label string) error {
	_, err := s.do("DELETE", path+"?labelSelector="+url.QueryEscape(label), runtime.ContentTypeJSON, nil, nil)
	return err
}
