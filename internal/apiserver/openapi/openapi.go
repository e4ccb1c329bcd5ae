// Package openapi serves the schemas of the API: /openapi/v3, one document for
// each group version, and /openapi/v2, one for all.
//
// The documents are generated from the API's Go types (see gen) and embedded
// as gzip, in JSON and protobuf. They are sent as they are to clients that
// accept gzip, which all common ones do, so that no document is ever parsed or
// kept in memory.
package openapi

//go:generate go run clipper/internal/apiserver/openapi/gen

import (
	"compress/gzip"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"clipper/internal/scheme"
)

//go:embed documents
var documents embed.FS

// Handler serves all paths below /openapi/. It is safe for concurrent use.
type Handler struct {
	table *scheme.Table
	index func() (*index, error)
}

// index is what there is to serve.
type index struct {
	// hashes are those of the documents by name, such as "v3/apis/apps/v1".
	hashes map[string]string
	// root is the answer to /openapi/v3.
	root     []byte
	rootETag string
}

// New returns a Handler for the groups of the table; it reads nothing yet.
func New(t *scheme.Table) *Handler {
	h := &Handler{table: t}
	h.index = sync.OnceValues(h.readIndex)
	return h
}

// readIndex reads which documents there are and keeps those of served groups.
func (h *Handler) readIndex() (*index, error) {
	b, err := documents.ReadFile("documents/index.json")
	if err != nil {
		return nil, fmt.Errorf("openapi index: %w", err)
	}
	all := map[string]string{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("openapi index: %w", err)
	}
	type location struct {
		ServerRelativeURL string `json:"serverRelativeURL"`
	}
	ix := &index{hashes: map[string]string{"v2": all["v2"]}}
	paths := map[string]location{}
	for _, g := range h.table.Groups() {
		for _, v := range g.Versions {
			path := "apis/" + g.Name + "/" + v
			if g.Name == "" {
				path = "api/" + v
			}
			hash, ok := all["v3/"+path]
			if !ok {
				continue
			}
			ix.hashes["v3/"+path] = hash
			paths[path] = location{"/openapi/v3/" + path + "?hash=" + hash}
		}
	}
	ix.root, err = json.Marshal(map[string]any{"paths": paths})
	ix.rootETag = etag(ix.root)
	return ix, err
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/openapi"), "/")
	ix, err := h.index()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	hash, known := ix.hashes[name]
	if name != "v3" && !known {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405: Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Add("Vary", "Accept")
	if name == "v3" {
		serveRoot(w, r, ix)
		return
	}
	if asked := r.URL.Query().Get("hash"); asked != "" && name != "v2" {
		if asked != hash {
			// The client knows an older document: show it where the new one is.
			http.Redirect(w, r, "/openapi/"+name+"?hash="+hash, http.StatusMovedPermanently)
			return
		}
		// What is named by its hash never changes.
		w.Header().Set("Cache-Control", "public, immutable, max-age=31536000")
	} else {
		w.Header().Set("Cache-Control", "no-cache, private")
	}
	f, ok := negotiate(r.Header, name == "v2")
	if !ok {
		http.Error(w, "only application/json and protobuf are served", http.StatusNotAcceptable)
		return
	}
	w.Header().Set("Etag", f.etag(hash))
	if notModified(r, f.etag(hash)) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if err := serveFile(w, r, "documents/"+name+f.extension, f.contentType); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func serveRoot(w http.ResponseWriter, r *http.Request, ix *index) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache, private")
	w.Header().Set("Etag", ix.rootETag)
	if notModified(r, ix.rootETag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(ix.root)))
	// A client that is gone needs no answer.
	_, _ = w.Write(ix.root)
}

// serveFile sends an embedded document. An error means nothing was written.
func serveFile(w http.ResponseWriter, r *http.Request, path, contentType string) error {
	f, err := documents.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := sizeOf(f)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Add("Vary", "Accept-Encoding")
	if acceptsGzip(r.Header) {
		header.Set("Content-Type", contentType)
		header.Set("Content-Encoding", "gzip")
		header.Set("Content-Length", strconv.FormatInt(size, 10))
		if r.Method != http.MethodHead {
			_, _ = io.Copy(w, f)
		}
		return nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	header.Set("Content-Type", contentType)
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, z)
	}
	return nil
}

var errNoSize = errors.New("embedded document has no size")

func sizeOf(f fs.File) (int64, error) {
	s, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if s.Size() == 0 {
		return 0, errNoSize
	}
	return s.Size(), nil
}
