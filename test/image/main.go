// Command image writes the docker-archive of the stand-in images that the tests
// load: the guide's, each the web server of ./web, and a busybox.
//
// usage: image -web WEB -busybox BUSYBOX -o OUT
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// One row an image; all share one layer of busybox and the web server.
var images = []struct {
	names []string
	env   []string
	entry []string
	cmd   []string
	user  string
}{
	{names: []string{"myregistry/inventory-api:v1", "myregistry/api:v1", "myregistry/order-api:v2", "myregistry/web-app:v1"}, entry: []string{"/web"}},
	{names: []string{"myregistry/catalog:v1.0"}, env: []string{"VERSION=v1.0"}, entry: []string{"/web"}},
	{names: []string{"myregistry/catalog:v1.1"}, env: []string{"VERSION=v1.1"}, entry: []string{"/web"}},
	{names: []string{"fluent/fluentd:v1.14"}, cmd: []string{"sh", "-c", "touch /var/log/app/app.log; exec tail -F /var/log/app/app.log"}},
	{names: []string{"busybox:test"}, cmd: []string{"sh"}},
	// Upstream's runtime wants one, when it is measured beside ours.
	{names: []string{"registry.k8s.io/pause:3.10"}, entry: []string{"/bin/sleep", "2147483647"}},
	{names: []string{"nonroot:test"}, cmd: []string{"sh"}, user: "1234"},
}

func main() {
	web := flag.String("web", "", "the web server's program")
	busybox := flag.String("busybox", "", "a static busybox")
	out := flag.String("o", "", "archive to write")
	flag.Parse()
	if err := write(*web, *busybox, *out); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(web, busybox, out string) error {
	base, err := layer(web, busybox)
	if err != nil {
		return err
	}
	refs := map[name.Reference]v1.Image{}
	for _, row := range images {
		img, err := mutate.AppendLayers(empty.Image, base)
		if err != nil {
			return err
		}
		cf, err := img.ConfigFile()
		if err != nil {
			return err
		}
		cf = cf.DeepCopy()
		cf.OS, cf.Architecture = "linux", runtime.GOARCH
		cf.Config = v1.Config{Entrypoint: row.entry, Cmd: row.cmd, User: row.user, Env: append([]string{"PATH=/bin"}, row.env...)}
		if img, err = mutate.ConfigFile(img, cf); err != nil {
			return err
		}
		for _, n := range row.names {
			ref, err := name.ParseReference(n)
			if err != nil {
				return err
			}
			refs[ref] = img
		}
	}
	f, err := os.Create(out + ".new")
	if err != nil {
		return err
	}
	if err := tarball.MultiRefWrite(refs, f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}

// layer holds /web, /bin/busybox and a link for each command it knows.
func layer(web, busybox string) (v1.Layer, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	add := func(h tar.Header, data []byte) error {
		h.Size = int64(len(data))
		if err := tw.WriteHeader(&h); err != nil {
			return err
		}
		_, err := tw.Write(data)
		return err
	}
	for _, dir := range []string{"bin/", "etc/", "root/", "var/", "var/log/", "home/"} {
		if err := add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, nil); err != nil {
			return nil, err
		}
	}
	if err := add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil); err != nil {
		return nil, err
	}
	accounts := map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"etc/group":  "root:x:0:\nnogroup:x:65534:\n",
	}
	for _, file := range []string{"etc/passwd", "etc/group"} {
		if err := add(tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: 0o644}, []byte(accounts[file])); err != nil {
			return nil, err
		}
	}
	for file, from := range map[string]string{"web": web, "bin/busybox": busybox} {
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		if err := add(tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: 0o755}, data); err != nil {
			return nil, err
		}
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list: %w", busybox, err)
	}
	for _, command := range strings.Fields(string(list)) {
		if command == "busybox" {
			continue
		}
		if err := add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + command, Linkname: "busybox", Mode: 0o777}, nil); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
}
