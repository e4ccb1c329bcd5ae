package system

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	cri "k8s.io/cri-api/pkg/apis"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/config"
)

// imageStore is what the socket needs of the runtime.
type imageStore interface {
	cri.ImageManagerService
	LoadImages(ctx context.Context, archive io.Reader) ([]string, error)
}

// listenSocket opens the node's unix socket, in the place of one that an earlier
// process left. Only root can use it.
func (p *process) listenSocket() (net.Listener, error) {
	path := filepath.Join(p.RunDir, config.SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// serveSocket answers on the socket until ctx ends.
func serveSocket(ctx context.Context, l net.Listener, node config.Node, images imageStore) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /node", func(w http.ResponseWriter, _ *http.Request) { answer(w, node, nil) })
	mux.HandleFunc("POST /images", func(w http.ResponseWriter, r *http.Request) {
		names, err := images.LoadImages(r.Context(), r.Body)
		answer(w, names, err)
	})
	mux.HandleFunc("GET /images", func(w http.ResponseWriter, r *http.Request) {
		list, err := images.ListImages(r.Context(), nil)
		answer(w, describe(list), err)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func describe(list []*runtimev1.Image) []config.Image {
	all := make([]config.Image, 0, len(list))
	for _, i := range list {
		all = append(all, config.Image{ID: i.Id, Tags: i.RepoTags, Digests: i.RepoDigests, Size: i.Size})
	}
	return all
}

func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // the caller has gone, then
}
