package openapi

import (
	"crypto/sha512"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// form is how a document is written.
type form struct {
	proto       bool
	contentType string
}

// archive is the file that holds the documents in this form.
func (f form) archive() string {
	if f.proto {
		return "proto.zst"
	}
	return "json.zst"
}

// etag tells forms apart by a suffix, since their bytes differ.
func (f form) etag(hash string) string {
	if f.proto {
		hash += "-PB"
	}
	return `"` + hash + `"`
}

// negotiate picks what Accept wants most of JSON and protobuf, whose name an
// older spelling with an @ has, too. JSON is what those get who do not care.
func negotiate(h http.Header, v2 bool) (form, bool) {
	version := "v3"
	if v2 {
		version = "v2"
	}
	asJSON := form{false, "application/json"}
	asProtobuf := form{true, "application/com.github.proto-openapi.spec." + version + ".v1.0+protobuf"}
	accept := strings.Join(h.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return asJSON, true
	}
	var best form
	most := 0.0
	for _, clause := range strings.Split(accept, ",") {
		// The older spelling is not a token, so mime does not parse it.
		clause = strings.Replace(clause, version+"@v1.0", version+".v1.0", 1)
		media, params, err := mime.ParseMediaType(clause)
		if err != nil {
			continue
		}
		f := asJSON
		switch media {
		case "application/json", "application/*", "*/*":
		case asProtobuf.contentType:
			f = asProtobuf
		default:
			continue
		}
		q := 1.0
		if s, given := params["q"]; given {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				continue
			}
		}
		if q > most {
			best, most = f, q
		}
	}
	return best, most > 0
}

// acceptsGzip tells whether the client takes gzip, unless it says q=0.
func acceptsGzip(h http.Header) bool {
	for _, clause := range strings.Split(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, params, _ := strings.Cut(clause, ";")
		if c := strings.TrimSpace(coding); c != "gzip" && c != "*" {
			continue
		}
		if q, given := strings.CutPrefix(strings.TrimSpace(params), "q="); given {
			if n, err := strconv.ParseFloat(q, 64); err != nil || n == 0 {
				continue
			}
		}
		return true
	}
	return false
}

// near tells whether the client is on this machine, where copying is faster
// than compressing.
func near(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return true // a caller in this process
	}
	own, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return remote.Addr().IsLoopback()
	}
	here, err := netip.ParseAddrPort(own.String())
	return remote.Addr().IsLoopback() || err == nil && here.Addr().Unmap() == remote.Addr().Unmap()
}

func notModified(r *http.Request, etag string) bool {
	none := r.Header.Get("If-None-Match")
	return none != "" && (none == "*" || strings.Contains(none, etag))
}

func etag(b []byte) string { return fmt.Sprintf(`"%X"`, sha512.Sum512(b)) }
