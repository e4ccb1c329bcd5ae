package connect

import (
	"bytes"
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// maxToken bounds a tag, comment or run of text of a page that is rewritten.
const maxToken = 1 << 20

// linkAttributes are the attributes that hold an address, by element, as the
// HTML standard and its predecessors list them.
var linkAttributes = map[atom.Atom][]string{ // never changed
	atom.A:          {"href"},
	atom.Applet:     {"codebase"},
	atom.Area:       {"href"},
	atom.Audio:      {"src"},
	atom.Base:       {"href"},
	atom.Blockquote: {"cite"},
	atom.Body:       {"background"},
	atom.Button:     {"formaction"},
	atom.Del:        {"cite"},
	atom.Embed:      {"src"},
	atom.Form:       {"action"},
	atom.Frame:      {"longdesc", "src"},
	atom.Html:       {"manifest"},
	atom.Iframe:     {"longdesc", "src"},
	atom.Img:        {"longdesc", "src", "usemap"},
	atom.Input:      {"formaction", "src", "usemap"},
	atom.Ins:        {"cite"},
	atom.Link:       {"href"},
	atom.Object:     {"classid", "codebase", "data", "usemap"},
	atom.Q:          {"cite"},
	atom.Script:     {"src"},
	atom.Source:     {"src"},
	atom.Track:      {"src"},
	atom.Video:      {"poster", "src"},
}

// below returns where an address of the backend is found through the proxy at
// base; addresses of others, and relative ones, stay as they are.
func below(to *url.URL, backend, base string) string {
	if to.Host != "" && to.Host != backend || !strings.HasPrefix(to.Path, "/") {
		return to.String()
	}
	moved := *to
	moved.Scheme, moved.Host = "", ""
	if !strings.HasPrefix(to.Path, base+"/") {
		moved.Path = base + to.Path
		if to.RawPath != "" {
			moved.RawPath = (&url.URL{Path: base}).EscapedPath() + to.RawPath
		}
	}
	return moved.String()
}

// relink has the links of a page lead below the proxy.
func relink(response *http.Response, backend, base string) {
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || kind != "text/html" || response.StatusCode == http.StatusPartialContent || response.Body == nil ||
		response.Request != nil && response.Request.Method == http.MethodHead {
		return
	}
	page := io.Reader(response.Body)
	switch response.Header.Get("Content-Encoding") {
	case "":
	case "gzip":
		page = &unzipped{from: page}
		response.Header.Del("Content-Encoding")
	default:
		return // what cannot be read cannot be rewritten
	}
	response.Header.Del("Content-Length")
	response.ContentLength = -1
	response.Body = newLinks(page, response.Body, backend, base)
}

// links reads a page whose links are changed on the way.
type links struct {
	page          io.Reader
	body          io.Closer
	tokens        *html.Tokenizer // nil once the rest goes through as it is
	backend, base string
	ready         bytes.Buffer
}

func newLinks(page io.Reader, body io.Closer, backend, base string) *links {
	l := &links{page: page, body: body, tokens: html.NewTokenizer(page), backend: backend, base: base}
	l.tokens.SetMaxBuf(maxToken)
	return l
}

func (l *links) Close() error { return l.body.Close() }

func (l *links) Read(p []byte) (int, error) {
	for l.ready.Len() == 0 {
		if l.tokens == nil {
			return l.page.Read(p)
		}
		switch l.tokens.Next() {
		case html.ErrorToken:
			// A page may end within a token, and a token be too long to hold.
			err := l.tokens.Err()
			l.ready.Write(l.tokens.Raw())
			l.ready.Write(l.tokens.Buffered())
			if l.tokens = nil; err != html.ErrBufferExceeded {
				l.page = failed{err}
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			l.tag()
		default:
			l.ready.Write(l.tokens.Raw())
		}
	}
	return l.ready.Read(p)
}

// failed is a reader that has come to its end.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// tag writes a tag: as it came, unless a link in it leads elsewhere now.
func (l *links) tag() {
	raw := bytes.Clone(l.tokens.Raw()) // reading the token changes it
	token := l.tokens.Token()
	changed := false
	for _, name := range linkAttributes[token.DataAtom] {
		for i := range token.Attr {
			a := &token.Attr[i]
			if a.Key != name || a.Namespace != "" {
				continue
			}
			to, err := url.Parse(a.Val)
			if err != nil {
				continue // what is no address leads nowhere
			}
			// One that is only written in another way leads where it led.
			if there := below(to, l.backend, l.base); there != to.String() {
				a.Val, changed = there, true
			}
		}
	}
	if changed {
		raw = []byte(token.String())
	}
	l.ready.Write(raw)
}

// unzipped reads what gzip packed. Its head is read with the first byte: a
// backend may be slow to send it.
type unzipped struct {
	from io.Reader
	zip  *gzip.Reader
}

func (u *unzipped) Read(p []byte) (int, error) {
	if u.zip == nil {
		zip, err := gzip.NewReader(u.from)
		if err != nil {
			return 0, err
		}
		u.zip = zip
	}
	return u.zip.Read(p)
}
