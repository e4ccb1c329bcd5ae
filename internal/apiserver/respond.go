package apiserver

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"

	"github.com/klauspost/compress/gzip"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// entry answers with a stored object in the form that was negotiated.
func (q *request) entry(code int, e *cache.Entry) error {
	by := &q.kind.encoders
	switch q.form.shape {
	case table:
		t, err := q.table([]runtime.Object{e.Object}, true)
		if err != nil {
			return err
		}
		t.ResourceVersion = e.Meta().GetResourceVersion()
		return q.object(code, t)
	case partly:
		if q.form.beta {
			p := partial(e.Object)
			p.APIVersion = betaVersion
			return q.object(code, p)
		}
		by = &q.kind.partial
	case partlyList:
		return notSuch(q.kind.row, "PartialObjectMetadataList", "not a list", "")
	}
	encode := e.News
	if q.r.Method == http.MethodGet || q.r.Method == http.MethodHead {
		encode = e.Bytes
	}
	b, err := encode(by[q.form.media])
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	q.body(code, b)
	return nil
}

// object answers with an object that is not stored.
func (q *request) object(code int, o runtime.Object) error {
	if q.form.media == scheme.Protobuf && !scheme.HasProtobuf(o) {
		return onlyAccepted(mediaTypes)
	}
	b, err := scheme.Encode(nil, q.form.media, o)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	q.body(code, b)
	return nil
}

// success is the Status of a write that returns no object.
func success(code int, d *metav1.StatusDetails) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusSuccess, Code: int32(code), Details: d,
	}
}

func (q *request) table(objs []runtime.Object, headers bool) (*metav1.Table, error) {
	return q.tableOf(q.kind.row, objs, headers)
}

func (q *request) tableOf(row *scheme.Resource, objs []runtime.Object, headers bool) (*metav1.Table, error) {
	if q.Tabler == nil {
		return nil, onlyAccepted(mediaTypes)
	}
	o, err := scheme.ParseTableOptions(q.query)
	if err != nil {
		return nil, err
	}
	t, err := q.Tabler.Table(row, objs, o, headers)
	if err != nil {
		return nil, err
	}
	t.Kind, t.APIVersion = "Table", "meta.k8s.io/v1"
	if q.form.beta {
		t.APIVersion = betaVersion
		for i := range t.Rows {
			if p, ok := t.Rows[i].Object.Object.(*metav1.PartialObjectMetadata); ok {
				p.APIVersion = betaVersion
			}
		}
	}
	return t, nil
}

// Header values, shared and never changed.
var contentTypes = [3][]string{
	scheme.JSON:     {"application/json"},
	scheme.YAML:     {"application/yaml"},
	scheme.Protobuf: {"application/vnd.kubernetes.protobuf"},
}

func setInt(h http.Header, name string, n int) { h[name] = []string{strconv.Itoa(n)} }

// body writes the whole answer.
func (q *request) body(code int, b []byte) {
	line := 0
	if q.form.media == scheme.JSON {
		if q.form.pretty {
			var buf bytes.Buffer
			if json.Indent(&buf, b, "", "  ") == nil {
				b = buf.Bytes()
			}
		}
		line = 1
	}
	h := q.w.Header()
	h["Content-Type"] = contentTypes[q.form.media]
	if len(b) >= compressFrom && q.compress() {
		out := q.begin(code, true)
		out.Write(b)
		if line == 1 {
			out.Write(newline)
		}
		out.Close()
		return
	}
	setInt(h, "Content-Length", len(b)+line)
	q.sent = int64(len(b) + line)
	q.code = code
	q.w.WriteHeader(code)
	if q.r.Method == http.MethodHead {
		return
	}
	if line == 0 {
		q.w.Write(b)
		return
	}
	buf := small.Get().(*[]byte)
	*buf = append(append((*buf)[:0], b...), '\n')
	q.w.Write(*buf)
	if cap(*buf) <= smallMost {
		small.Put(buf)
	}
}

var newline = []byte{'\n'}

const smallMost = 64 << 10

var small = sync.Pool{New: func() any { return new([]byte) }}

// compressFrom is the size from which an answer is worth compressing.
const compressFrom = 128 << 10

// compress tells whether the client wants a compressed answer and is far
// enough away: within one machine copying is faster than compressing.
func (q *request) compress() bool {
	return strings.Contains(q.r.Header.Get("Accept-Encoding"), "gzip") && !local(q.r)
}

// local tells whether the request came from this machine.
func local(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return true // a caller in this process
	}
	if remote.Addr().IsLoopback() {
		return true
	}
	own, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	here, err := netip.ParseAddrPort(own.String())
	return err == nil && here.Addr().Unmap() == remote.Addr().Unmap()
}

// output is the body of an answer whose length is not known before.
type output struct {
	w   http.ResponseWriter
	n   *int64 // the request's sent
	zip *gzip.Writer
	buf []byte
}

var outputs = sync.Pool{New: func() any { return make([]byte, 0, outputSize) }}

// outputSize is how much is written at once: enough that framing and system
// calls do not count.
const outputSize = 128 << 10

var zippers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return w
}}

// beginSized is begin for a list of these items: a short one is not compressed.
func (q *request) beginSized(items [][]byte) *output {
	n := 0
	for _, b := range items {
		n += len(b)
	}
	return q.begin(http.StatusOK, n >= compressFrom && q.compress())
}

// begin starts an answer and returns where its body goes. Content-Type is set.
func (q *request) begin(code int, compress bool) *output {
	o := &output{w: q.w, n: &q.sent}
	if compress {
		h := q.w.Header()
		h["Content-Encoding"] = []string{"gzip"}
		h["Vary"] = []string{"Accept-Encoding"}
		o.zip = zippers.Get().(*gzip.Writer)
		o.zip.Reset(q.w)
	}
	q.code = code
	q.w.WriteHeader(code)
	if compress || q.r.ProtoMajor < 2 { // HTTP/2 gathers by itself
		o.buf = outputs.Get().([]byte)[:0]
	}
	return o
}

// Write gathers; it never fails, for a client that is gone ends the request.
func (o *output) Write(p []byte) (int, error) {
	n := len(p)
	if o.buf == nil {
		*o.n += int64(n)
		return o.w.Write(p)
	}
	for len(o.buf)+len(p) > cap(o.buf) {
		k := cap(o.buf) - len(o.buf)
		o.buf = append(o.buf, p[:k]...)
		p = p[k:]
		if err := o.flush(); err != nil {
			return 0, err
		}
	}
	o.buf = append(o.buf, p...)
	return n, nil
}

// WriteString is Write.
func (o *output) WriteString(s string) (int, error) {
	if o.buf == nil {
		*o.n += int64(len(s))
		return io.WriteString(o.w, s)
	}
	if len(o.buf)+len(s) <= cap(o.buf) {
		o.buf = append(o.buf, s...)
		return len(s), nil
	}
	return o.Write([]byte(s))
}

func (o *output) flush() (err error) {
	*o.n += int64(len(o.buf))
	if o.zip != nil {
		_, err = o.zip.Write(o.buf)
	} else {
		_, err = o.w.Write(o.buf)
	}
	o.buf = o.buf[:0]
	return err
}

// Close writes what is left.
func (o *output) Close() error {
	if o.buf == nil {
		return nil
	}
	err := o.flush()
	if o.zip != nil {
		if cerr := o.zip.Close(); err == nil {
			err = cerr
		}
		zippers.Put(o.zip)
	}
	outputs.Put(o.buf) // the slice header is small beside what it holds
	return err
}
