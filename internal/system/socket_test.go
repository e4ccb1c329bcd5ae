package system

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/config"
)

// archives is a runtime that knows one archive.
type archives struct{ cri.ImageManagerService }

func (archives) LoadImages(_ context.Context, r io.Reader) ([]string, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if string(data) != "good" {
		return nil, errors.New("not an archive of images")
	}
	return []string{"docker.io/library/app:1"}, nil
}

func (archives) ListImages(context.Context, *runtimev1.ImageFilter) ([]*runtimev1.Image, error) {
	return []*runtimev1.Image{{Id: "sha256:aa", RepoTags: []string{"docker.io/library/app:1"}, Size: 7}}, nil
}

// serveArchives runs the socket until the test ends, and returns who asks there.
func serveArchives(t *testing.T) (*http.Client, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, config.SocketName)
	// What an earlier process left does not matter.
	if l, err := net.Listen("unix", path); err != nil {
		t.Fatal(err)
	} else {
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	p := &process{Config: &config.Config{RunDir: dir}, log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	l, err := p.listenSocket()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		done <- serveSocket(ctx, l, config.Node{PodCIDR: netip.MustParsePrefix("10.42.0.0/24")}, archives{})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the socket is left behind")
		}
	})
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}, path
}

func TestSocket(t *testing.T) {
	client, path := serveArchives(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others than root may open it: %v, %v", info.Mode(), err)
	}
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{http.MethodGet, "/node", "", 200, `{"podCIDR":"10.42.0.0/24"}`},
		{http.MethodPost, "/images", "good", 200, `["docker.io/library/app:1"]`},
		{http.MethodPost, "/images", "garbage", 422, "not an archive of images"},
		{http.MethodPost, "/images", "", 422, "not an archive of images"},
		{http.MethodPut, "/images", "", 405, "Method Not Allowed"},
		{http.MethodGet, "/elsewhere", "", 404, "not found"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://node"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.code || !strings.Contains(string(body), c.want) {
			t.Errorf("%s %s: %d %q, %v; want %d %q", c.method, c.path, resp.StatusCode, body, err, c.code, c.want)
		}
	}
	resp, err := client.Get("http://node/images")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var images []config.Image
	if err := json.NewDecoder(resp.Body).Decode(&images); err != nil || len(images) != 1 || images[0].ID != "sha256:aa" || images[0].Size != 7 {
		t.Errorf("%+v, %v", images, err)
	}
}
