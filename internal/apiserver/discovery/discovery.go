// Package discovery tells clients which groups, versions and resources there
// are: /api, /apis and the documents below, plain and aggregated (KEP-3352).
//
// Everything said comes from the table of kinds. A document is made when it is
// first asked for and kept as bytes, one copy for each media type.
package discovery

import (
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"clipper/internal/scheme"
)

// Config is what a Handler speaks of.
type Config struct {
	Table *scheme.Table
	// ServerAddress is the host and port that /api names to clients.
	ServerAddress string
}

// Handler serves /api, /apis and all that is below them up to a version. It is
// safe for concurrent use.
type Handler struct {
	config Config
	docs   sync.Map // of docKey to *doc
}

type docKey struct {
	path string
	form form
}

// doc is one document in one form.
type doc struct {
	body []byte
	etag string
}

// New returns a Handler; it makes no document yet.
func New(c Config) *Handler { return &Handler{config: c} }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	build, root := h.builder(path)
	if build == nil {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405: Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Vary", "Accept")
	f, ok := negotiate(r.Header, root)
	if !ok {
		notAcceptable(w)
		return
	}
	d, err := h.doc(path, f, build)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", f.contentType())
	header.Set("Cache-Control", "no-cache, private")
	if f.aggregated() {
		header.Set("Etag", d.etag)
		if none := r.Header.Get("If-None-Match"); none != "" && strings.Contains(none, d.etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(d.body)))
	// A client that is gone needs no answer.
	_, _ = w.Write(d.body)
}

// builder returns what makes the document of a path, or nil; root tells
// whether the path has an aggregated form too.
func (h *Handler) builder(path string) (build func(form) runtime.Object, root bool) {
	switch parts := strings.Split(strings.TrimPrefix(path, "/"), "/"); {
	case path == "/api":
		return func(f form) runtime.Object {
			if f.aggregated() {
				return h.aggregated(func(group string) bool { return group == "" })
			}
			return h.versions()
		}, true
	case path == "/apis":
		return func(f form) runtime.Object {
			if f.aggregated() {
				return h.aggregated(func(group string) bool { return group != "" })
			}
			return h.groups()
		}, true
	case len(parts) == 2 && parts[0] == "api" && h.has("", parts[1]):
		return func(form) runtime.Object { return h.resources("", parts[1]) }, false
	case len(parts) == 2 && parts[0] == "apis" && parts[1] != "" && h.has(parts[1], ""):
		return func(form) runtime.Object { return h.group(parts[1]) }, false
	case len(parts) == 3 && parts[0] == "apis" && parts[1] != "" && h.has(parts[1], parts[2]):
		return func(form) runtime.Object { return h.resources(parts[1], parts[2]) }, false
	}
	return nil, false
}

// has tells whether the group serves the version, or any if it is empty.
func (h *Handler) has(group, version string) bool {
	for _, g := range h.config.Table.Groups() {
		if g.Name != group {
			continue
		}
		for _, v := range g.Versions {
			if version == "" || v == version {
				return true
			}
		}
	}
	return false
}

func (h *Handler) doc(path string, f form, build func(form) runtime.Object) (*doc, error) {
	key := docKey{path, f}
	if d, ok := h.docs.Load(key); ok {
		return d.(*doc), nil
	}
	obj := build(f)
	if core := path == "/api" || strings.HasPrefix(path, "/api/"); core && f.media != scheme.Protobuf {
		// The oldest documents say their kind alone.
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Kind: obj.GetObjectKind().GroupVersionKind().Kind})
	}
	if f.version != "" {
		// The versions of the aggregated form differ in name alone.
		obj.GetObjectKind().SetGroupVersionKind(f.groupVersionKind())
	}
	body, err := scheme.Encode(nil, f.media, obj)
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(body)
	d, _ := h.docs.LoadOrStore(key, &doc{body: body, etag: `"` + strings.ToUpper(hex.EncodeToString(sum[:])) + `"`})
	return d.(*doc), nil
}

func notAcceptable(w http.ResponseWriter) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Code:     http.StatusNotAcceptable,
		Reason:   metav1.StatusReasonNotAcceptable,
		Message:  "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf",
	}
	body, err := scheme.EncodeJSON(nil, &status)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", scheme.JSON.String())
	w.WriteHeader(http.StatusNotAcceptable)
	_, _ = w.Write(body)
}
