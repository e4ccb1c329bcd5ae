package demo

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestWriteImage(t *testing.T) {
	program := bytes.Repeat([]byte("program "), 1000)
	var archive bytes.Buffer
	if err := WriteImage(&archive, program, "arm64"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "demo.tar")
	if err := os.WriteFile(file, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(Image)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if cf.OS != "linux" || cf.Architecture != "arm64" || cf.Config.User != "65534:65534" || strings.Join(cf.Config.Entrypoint, " ") != "/demo" {
		t.Errorf("%+v", cf)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 || len(cf.RootFS.DiffIDs) != 1 {
		t.Fatal(layers, cf.RootFS, err)
	}
	if id, err := layers[0].DiffID(); err != nil || id != cf.RootFS.DiffIDs[0] {
		t.Errorf("the layer is %s and the configuration names %s (%v)", id, cf.RootFS.DiffIDs[0], err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	tr := tar.NewReader(content)
	h, err := tr.Next()
	if err != nil || h.Name != "demo" || h.Mode != 0o755 {
		t.Fatal(h, err)
	}
	if got, err := io.ReadAll(tr); err != nil || !bytes.Equal(got, program) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := tr.Next(); err != io.EOF {
		t.Errorf("more than the program: %v", err)
	}
}

func TestWriteImageTwice(t *testing.T) {
	var a, b bytes.Buffer
	if err := WriteImage(&a, []byte("p"), "amd64"); err != nil {
		t.Fatal(err)
	}
	if err := WriteImage(&b, []byte("p"), "amd64"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same program gives another image")
	}
}

// TestObjects: the Service selects what the Deployment runs.
func TestObjects(t *testing.T) {
	d, s := Deployment("ns"), Service("ns")
	for k, v := range s.Spec.Selector {
		if d.Spec.Template.Labels[k] != v || d.Spec.Selector.MatchLabels[k] != v {
			t.Errorf("%s=%s selects no pod", k, v)
		}
	}
	c := d.Spec.Template.Spec.Containers[0]
	if c.Image != Image || c.Ports[0].ContainerPort != s.Spec.Ports[0].TargetPort.IntVal || d.Namespace != "ns" || s.Namespace != "ns" {
		t.Errorf("%+v\n%+v", c, s.Spec)
	}
}

func TestFetch(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
	}))
	got, err := Fetch(t.Context(), srv.URL)
	if err != nil || len(got) != 4096 {
		t.Error(len(got), err)
	}
	srv.Close()
	if _, err := Fetch(t.Context(), srv.URL); err == nil {
		t.Error("a closed server answered")
	}
}
