package apiserver

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// maxBody bounds what a request may carry.
	maxBody = 3 << 20
	// bodyWithin bounds how long a client may take to send it.
	bodyWithin = 30 * time.Second
	// unreadWithin is how long the body of a request that is answered without
	// it may hold the answer up: net/http takes the rest of a small one first.
	unreadWithin = time.Second
)

// unread bounds how long the answer waits for a body that nobody reads. HTTP/2
// answers without it.
func (q *request) unread() {
	if q.r.ProtoMajor == 1 {
		q.receive(unreadWithin)
	}
}

// receive bounds how long a client that is outside may take to send what is
// still to come of its request.
func (q *request) receive(within time.Duration) {
	if q.r.TLS == nil || q.r.ContentLength == 0 {
		return
	}
	var until time.Time
	if within > 0 {
		until = time.Now().Add(within)
	}
	// Not every connection can; what cannot is not slow.
	_ = http.NewResponseController(q.w).SetReadDeadline(until)
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// withBody calls f with the request's body, which f must not keep.
func (q *request) withBody(f func([]byte) error) error {
	if q.r.ContentLength > maxBody {
		return tooLarge()
	}
	q.receive(bodyWithin)
	buf := bodies.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= smallMost {
			bodies.Put(buf)
		}
	}()
	if n := q.r.ContentLength; n > 0 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(q.r.Body, maxBody+1))
	if n <= maxBody && err == nil {
		q.sized(n)
		q.receive(0) // what comes now is another request
	} else {
		q.unread()
	}
	switch {
	case n > maxBody:
		return tooLarge()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return apierrors.NewBadRequest("unable to read the request's body: it ended early")
	case err != nil:
		return apierrors.NewTimeoutError("unable to read the request's body: "+err.Error(), 0)
	}
	return f(buf.Bytes())
}

func tooLarge() error { return apierrors.NewRequestEntityTooLargeError("limit is 3145728") }

// decode reads the body as an object of the kind's row, with its defaults, in
// the stored version.
func (q *request) decode(v scheme.Validation) (obj runtime.Object, warnings []string, err error) {
	mt, err := bodyType(q.r.Header)
	if err != nil {
		return nil, nil, err
	}
	err = q.withBody(func(b []byte) error {
		obj, warnings, err = q.decodeBody(b, mt, v)
		return err
	})
	return obj, warnings, err
}

func (q *request) decodeBody(b []byte, mt scheme.MediaType, v scheme.Validation) (runtime.Object, []string, error) {
	obj, warnings, err := q.Table.Decode(b, mt, q.kind.row.GroupVersionKind(), v)
	if err != nil {
		return nil, nil, err
	}
	obj, err = q.kind.stored(obj)
	return obj, warnings, err
}

// stored defaults an object of the row and converts it.
func (k *kind) stored(obj runtime.Object) (runtime.Object, error) {
	k.row.Default(obj)
	if k.row.ToStored == nil {
		return obj, nil
	}
	o, err := k.row.ToStored(obj)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return o, nil
}

// served converts a stored object to the row's version. It is shared if the
// stored one is.
func (k *kind) served(obj runtime.Object) (runtime.Object, error) {
	if k.row.FromStored == nil {
		return obj, nil
	}
	o, err := k.row.FromStored(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return o, nil
}

// write makes a write of the request, whose options are checked.
func (q *request) write(dryRun []string, options runtime.Object) (*write, error) {
	if err := checkOptions(options); err != nil {
		return nil, err
	}
	return &write{
		Server: q.Server, ctx: q.ctx, kind: q.kind, namespace: q.scope(), name: q.name,
		subresource: q.subresource, user: q.user, dryRun: len(dryRun) > 0, options: options, manager: q.manager(),
	}, nil
}

// manager is who owns the fields that the request changes: who it says, or
// else the program's name.
func (q *request) manager() string {
	if m := q.query.Get("fieldManager"); m != "" {
		if !utf8.ValidString(m) {
			m = string([]rune(m)) // bytes that are no characters are shown as what stands for them
		}
		return m
	}
	agent, _, _ := strings.Cut(q.r.Header.Get("User-Agent"), "/")
	return printable(agent, longestManager)
}

// printable returns the text without what cannot be printed, and not longer
// than most bytes.
func printable(s string, most int) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(s) <= most && strings.IndexFunc(s, odd) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if odd(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > most {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// warn adds warnings to the answer's headers, as RFC 7234 writes them.
func (q *request) warn(texts []string) {
	for _, t := range texts {
		q.w.Header().Add("Warning", `299 - "`+quoted.Replace(t)+`"`)
	}
}

var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ", "\r", " ")
