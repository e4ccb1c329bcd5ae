// Package demo is the demo that shows a new user a running workload: an image
// made of the web server that clipper carries, a Deployment and a Service.
package demo

import (
	"archive/tar"
	"bytes"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image is the name that the demo's image is loaded under.
const Image = "clipper.local/demo:1"

// WriteImage writes a docker-archive whose only file is the given program.
func WriteImage(w io.Writer, program []byte, goarch string) error {
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "demo", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return err
	}
	if _, err := tw.Write(program); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	if img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: goarch,
		Config: v1.Config{Entrypoint: []string{"/demo"}, User: "65534:65534"},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: diffIDs(img)},
	}); err != nil {
		return err
	}
	tag, err := name.NewTag(Image)
	if err != nil {
		return err
	}
	return tarball.Write(tag, img, w)
}

func diffIDs(img v1.Image) []v1.Hash {
	cf, err := img.ConfigFile()
	if err != nil {
		return nil
	}
	return cf.RootFS.DiffIDs
}
