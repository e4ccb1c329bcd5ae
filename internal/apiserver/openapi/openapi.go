// Package openapi serves the schemas of the API: /openapi/v3, one document for
// each group version, and /openapi/v2, one for all.
//
// The documents are generated from the API's Go types (see gen) and embedded in
// two archives, of JSON and of protobuf. One that is asked for is taken out of
// the archive on its way to the client, so none is ever parsed or kept in
// memory; clients keep them by their hash, and seldom ask twice.
package openapi

//go:generate go run clipper/internal/apiserver/openapi/gen

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"clipper/internal/scheme"

	"github.com/klauspost/compress/zstd"
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
	// documents by name, such as "v3/apis/apps/v1".
	documents map[string]document
	// root is the answer to /openapi/v3.
	root     []byte
	rootETag string
}

// document is where a document is in the archives: where it begins, and its size.
type document struct {
	Name  string   `json:"name"`
	Hash  string   `json:"hash"`
	JSON  [2]int64 `json:"json"`
	Proto [2]int64 `json:"proto"`
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
	var all []document
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("openapi index: %w", err)
	}
	type location struct {
		ServerRelativeURL string `json:"serverRelativeURL"`
	}
	ix := &index{documents: map[string]document{}}
	paths := map[string]location{}
	for _, d := range all {
		path, v3 := strings.CutPrefix(d.Name, "v3/")
		if v3 && !h.served(path) {
			continue
		}
		ix.documents[d.Name] = d
		if v3 {
			paths[path] = location{"/openapi/v3/" + path + "?hash=" + d.Hash}
		}
	}
	ix.root, err = json.Marshal(map[string]any{"paths": paths})
	ix.rootETag = etag(ix.root)
	return ix, err
}

// served tells whether the table has what a document is about; documents of no
// group are about what is always there.
func (h *Handler) served(path string) bool {
	group, ok := strings.CutPrefix(path, "apis/")
	if !ok {
		return true
	}
	group, version, _ := strings.Cut(group, "/")
	for _, g := range h.table.Groups() {
		if g.Name == group {
			return version == "" || slices.Contains(g.Versions, version)
		}
	}
	return false
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/openapi"), "/")
	ix, err := h.index()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	doc, known := ix.documents[name]
	hash := doc.Hash
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
	if err := doc.serve(w, r, f); err != nil {
		// Clients keep what has a tag, and would be told that it has not changed.
		w.Header().Del("Etag")
		w.Header().Set("Cache-Control", "no-store")
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

// serve sends the document. An error means nothing was written.
func (d *document) serve(w http.ResponseWriter, r *http.Request, f form) error {
	at := d.JSON
	if f.proto {
		at = d.Proto
	}
	packed, err := documents.ReadFile("documents/" + f.archive())
	if err != nil {
		return err
	}
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer z.Close()
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Add("Vary", "Accept-Encoding")
	if r.Method == http.MethodHead {
		header.Set("Content-Length", strconv.FormatInt(at[1], 10))
		return nil
	}
	if _, err := io.CopyN(io.Discard, z, at[0]); err != nil {
		return err
	}
	if !acceptsGzip(r.Header) || near(r) {
		header.Set("Content-Length", strconv.FormatInt(at[1], 10))
		// A client that is gone needs no answer.
		_, _ = io.CopyN(w, z, at[1])
		return nil
	}
	header.Set("Content-Encoding", "gzip")
	g, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(g, z, at[1]); err == nil {
		_ = g.Close()
	}
	return nil
}
