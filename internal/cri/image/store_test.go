package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

func open(t *testing.T, dir string, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, f := range change {
		f(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// layerOf is a layer's tar; a header without content needs no size.
func layerOf(t *testing.T, entries ...*tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range entries {
		h.ModTime = time.Unix(1000, 0)
		content := h.PAXRecords["content"]
		delete(h.PAXRecords, "content")
		h.Size = int64(len(content))
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content)
	}
	w.Close()
	return buf.Bytes()
}

func file(name, content string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"content": content}}
}
func dir(name string, mode int64) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}
}
func symlink(name, to string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}
func hardlink(name, to string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
}

type img struct {
	tags   []string
	layers [][]byte
	config map[string]any
}

func (i img) configuration() []byte {
	ids := []string{}
	for _, l := range i.layers {
		ids = append(ids, digestOf(l))
	}
	raw, _ := json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH, "config": i.config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	return raw
}

// docker is a docker-archive; layers are compressed when zip is set.
func docker(t *testing.T, zip bool, images ...img) []byte {
	t.Helper()
	var entries []*tar.Header
	manifest := []map[string]any{}
	for n, i := range images {
		var names []string
		for m, l := range i.layers {
			content := l
			if zip {
				content = gz(l)
			}
			names = append(names, fmt.Sprintf("%d/%d.tar", n, m))
			entries = append(entries, file(names[m], string(content)))
		}
		entries = append(entries, file(fmt.Sprintf("%d.json", n), string(i.configuration())))
		manifest = append(manifest, map[string]any{"Config": fmt.Sprintf("%d.json", n), "RepoTags": i.tags, "Layers": names})
	}
	raw, _ := json.Marshal(manifest)
	return layerOf(t, append(entries, file("manifest.json", string(raw)))...)
}

func gz(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func oci(t *testing.T, i img, ref string) []byte {
	t.Helper()
	var entries []*tar.Header
	blob := func(b []byte) map[string]any {
		d := digestOf(b)
		entries = append(entries, file("blobs/sha256/"+strings.TrimPrefix(d, "sha256:"), string(b)))
		return map[string]any{"digest": d, "size": len(b), "mediaType": "x"}
	}
	layers := []any{}
	for _, l := range i.layers {
		layers = append(layers, blob(gz(l)))
	}
	raw, _ := json.Marshal(map[string]any{"schemaVersion": 2, "config": blob(i.configuration()), "layers": layers})
	mine := blob(raw)
	mine["platform"] = map[string]any{"os": "linux", "architecture": runtime.GOARCH}
	other := blob([]byte(`{"schemaVersion":2}`))
	other["platform"] = map[string]any{"os": "linux", "architecture": "mips"}
	raw, _ = json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{other, mine}})
	list := blob(raw)
	list["annotations"] = map[string]string{"io.containerd.image.name": ref}
	raw, _ = json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{list}})
	return layerOf(t, append(entries, file("oci-layout", "{}"), file("index.json", string(raw)))...)
}

func load(t *testing.T, s *Store, archive []byte) []string {
	t.Helper()
	names, err := s.Load(context.Background(), bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// merged mounts an image's layers and calls look with the folder.
func merged(t *testing.T, s *Store, image string, look func(root string)) {
	t.Helper()
	i, err := s.Get(image)
	if err != nil {
		t.Fatal(err)
	}
	dirs, release, err := s.Hold(i.Layers)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	root := t.TempDir()
	if len(dirs) == 1 {
		dirs = append(dirs, t.TempDir())
	}
	if err := unix.Mount("overlay", root, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(dirs, ":")); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(root, 0)
	look(root)
}

func TestLoad(t *testing.T) {
	base := layerOf(t, dir("etc/", 0o755), file("etc/a", "one"), file("etc/b", "two"), dir("var/", 0o700), file("var/x", "x"), symlink("link", "etc/a"), hardlink("hard", "etc/a"))
	top := layerOf(t, file("etc/.wh.b", ""), file("etc/c", "three"), dir("var/", 0o701), file("var/.wh..wh..opq", ""), file("var/y", "y"))
	i := img{tags: []string{"app:1", "myregistry/app:2"}, layers: [][]byte{base, top}, config: map[string]any{"User": "me", "Env": []string{"A=b"}}}
	for name, archive := range map[string][]byte{
		"docker-archive":                docker(t, false, i),
		"docker-archive with gz layers": docker(t, true, i),
		"docker-archive in gz":          gz(docker(t, false, i)),
		"oci layout":                    oci(t, i, "docker.io/library/app:1"),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			names := load(t, s, archive)
			if !slices.Contains(names, "docker.io/library/app:1") {
				t.Errorf("names %v", names)
			}
			got, err := s.Get("app:1")
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != digestOf(i.configuration()) || got.Spec.User != "me" || got.Size == 0 {
				t.Errorf("%+v", got)
			}
			if byID, err := s.Get(strings.TrimPrefix(got.ID, "sha256:")); err != nil || byID != got {
				t.Errorf("by its ID: %v %v", byID, err)
			}
			merged(t, s, "app:1", func(root string) {
				seen := map[string]string{}
				for _, f := range []string{"etc/a", "etc/b", "etc/c", "var/x", "var/y", "link", "hard"} {
					raw, err := os.ReadFile(filepath.Join(root, f))
					if err != nil {
						raw = []byte("gone")
					}
					seen[f] = string(raw)
				}
				want := map[string]string{"etc/a": "one", "etc/b": "gone", "etc/c": "three", "var/x": "gone", "var/y": "y", "link": "one", "hard": "one"}
				if diff := cmp.Diff(want, seen); diff != "" {
					t.Error(diff)
				}
				if st, _ := os.Stat(filepath.Join(root, "var")); st.Mode().Perm() != 0o701 || !st.ModTime().Equal(time.Unix(1000, 0)) {
					t.Errorf("var is %v of %v", st.Mode(), st.ModTime())
				}
			})
		})
	}
}

func TestAttributes(t *testing.T) {
	h := file("f", "x")
	h.Uid, h.Gid, h.Mode = 12, 34, 0o4751
	h.PAXRecords["SCHILY.xattr.user.color"] = "blue"
	h.PAXRecords["SCHILY.xattr.trusted.overlay.redirect"] = "/etc"
	dev := &tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}
	fifo := &tar.Header{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o600}
	s := open(t, t.TempDir())
	load(t, s, docker(t, false, img{tags: []string{"a"}, layers: [][]byte{layerOf(t, h, dev, fifo)}}))
	i, _ := s.Get("a")
	dirs, release, err := s.Hold(i.Layers)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var st unix.Stat_t
	if err := unix.Lstat(dirs[0]+"/f", &st); err != nil || st.Uid != 12 || st.Gid != 34 || st.Mode&0o7777 != 0o4751 {
		t.Errorf("%+v %v", st, err)
	}
	var buf [64]byte
	if n, err := unix.Lgetxattr(dirs[0]+"/f", "user.color", buf[:]); err != nil || string(buf[:n]) != "blue" {
		t.Errorf("%q %v", buf[:max(n, 0)], err)
	}
	if _, err := unix.Lgetxattr(dirs[0]+"/f", "trusted.overlay.redirect", buf[:]); err != unix.ENODATA {
		t.Errorf("a layer steers overlayfs: %v", err)
	}
	if err := unix.Lstat(dirs[0]+"/dev/null", &st); err != nil || st.Mode != unix.S_IFCHR|0o666 || st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("%+v %v", st, err)
	}
	if err := unix.Lstat(dirs[0]+"/fifo", &st); err != nil || st.Mode != unix.S_IFIFO|0o600 {
		t.Errorf("%+v %v", st, err)
	}
}

// What a layer does not describe is as below.
func TestImplicitFoldersAreAsBelow(t *testing.T) {
	d, top := dir("home/", 0o711), dir("./", 0o751)
	d.Uid = 77
	s := open(t, t.TempDir())
	load(t, s, docker(t, true, img{tags: []string{"a"}, layers: [][]byte{layerOf(t, top, d), layerOf(t, file("x", "")), layerOf(t, file("home/new/file", "x"))}}))
	merged(t, s, "a", func(root string) {
		var st unix.Stat_t
		if err := unix.Stat(root+"/home", &st); err != nil || st.Mode&0o7777 != 0o711 || st.Uid != 77 {
			t.Errorf("%o of %d, %v", st.Mode, st.Uid, err)
		}
		if err := unix.Stat(root, &st); err != nil || st.Mode&0o7777 != 0o751 {
			t.Errorf("the root is %o, %v", st.Mode, err)
		}
	})
}

func TestHostileLayers(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	many := []*tar.Header{symlink("l0", ".")}
	for i := range 50 {
		many = append(many, symlink(fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d/l%d", i, i)))
	}
	for name, entries := range map[string][]*tar.Header{
		"dots":                      {file("../../../../../../../.."+secret, "evil")},
		"absolute":                  {file(secret, "evil")},
		"through a link":            {symlink("out", outside), file("out/secret", "evil")},
		"through a relative link":   {symlink("out", "../../../../../../.."+outside), file("out/secret", "evil")},
		"folder through a link":     {symlink("out", outside), dir("out/", 0o777), file("out/secret", "evil")},
		"link then its replacement": {dir("d/", 0o755), symlink("d/out", outside), hardlink("d/h", "d/out"), file("d/h/secret", "evil")},
		"hard link outside":         {hardlink("h", "../../../../../../.."+secret), file("h", "evil")},
		"hard link through a link":  {symlink("out", outside), hardlink("h", "out/secret")},
		"whiteout through a link":   {symlink("out", outside), file("out/.wh.secret", "")},
		"opaque through a link":     {symlink("out", outside), file("out/.wh..wh..opq", "")},
		"whiteout of the folder":    {file(".wh...", "")},
		"mode through a link":       {symlink("out", secret), {Name: "out", Typeflag: tar.TypeDir, Mode: 0o777}},
		"device through a link":     {symlink("out", outside), {Name: "out/secret", Typeflag: tar.TypeBlock, Devmajor: 8}},
		"links without end":         append(many, file("l50/x", "evil")),
		"link to itself":            {symlink("a", "a"), file("a/b", "x")},
		"file as a folder":          {file("a", "x"), file("a/b", "x")},
		"magic link":                {symlink("p", "/proc/self/root"), file("p"+secret, "evil")},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			// Whether it is refused does not matter; that nothing is touched does.
			_, err := s.Load(context.Background(), bytes.NewReader(docker(t, false, img{tags: []string{"evil"}, layers: [][]byte{layerOf(t, entries...)}})))
			if raw, rerr := os.ReadFile(secret); rerr != nil || string(raw) != "secret" {
				t.Fatalf("the file outside is %q, %v (load: %v)", raw, rerr, err)
			}
			if left, _ := os.ReadDir(outside); len(left) != 1 {
				t.Fatalf("outside has %v", left)
			}
			var st unix.Stat_t
			if unix.Stat(secret, &st); st.Nlink != 1 || st.Mode&0o7777 != 0o600 {
				t.Fatalf("the file outside has %d links and mode %o", st.Nlink, st.Mode)
			}
			var buf [8]byte
			if _, err := unix.Lgetxattr(outside, opaqueXattr, buf[:]); err != unix.ENODATA {
				t.Fatalf("the folder outside is opaque: %v", err)
			}
			if err != nil {
				if entries, _ := os.ReadDir(s.path("layers")); len(entries) != 0 {
					t.Errorf("left behind: %v", entries)
				}
			}
		})
	}
}

func TestWrongContentIsRefused(t *testing.T) {
	good := layerOf(t, file("a", "x"))
	i := img{tags: []string{"a"}, layers: [][]byte{good}}
	archive := docker(t, false, i)
	for name, bad := range map[string][]byte{
		"changed layer": bytes.Replace(archive, []byte("x\x00\x00"), []byte("y\x00\x00"), 1),
		"cut short":     archive[:len(archive)/2],
		"no archive":    []byte("hello"),
		"empty":         nil,
		"no manifest":   layerOf(t, file("x", "y")),
		"bad manifest":  layerOf(t, file("manifest.json", "{")),
		"bad digest":    layerOf(t, file("c", `{"rootfs":{"diff_ids":["sha256:../../x"]}}`), file("manifest.json", `[{"Config":"c"}]`)),
		"other system":  layerOf(t, file("c", `{"os":"windows"}`), file("manifest.json", `[{"Config":"c"}]`)),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			if names, err := s.Load(context.Background(), bytes.NewReader(bad)); err == nil {
				t.Errorf("loaded %v", names)
			}
			if len(s.List()) != 0 {
				t.Errorf("holds %v", s.List())
			}
			if entries, _ := os.ReadDir(s.path("layers")); len(entries) != 0 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

func TestNamesMoveAndImagesGo(t *testing.T) {
	s := open(t, t.TempDir())
	base := layerOf(t, file("base", "x"))
	one := img{tags: []string{"a:1", "b:1"}, layers: [][]byte{base, layerOf(t, file("one", "1"))}}
	two := img{tags: []string{"a:1"}, layers: [][]byte{base, layerOf(t, file("two", "2"))}}
	load(t, s, docker(t, false, one))
	load(t, s, docker(t, false, two))
	if i, err := s.Get("a:1"); err != nil || i.ID != digestOf(two.configuration()) {
		t.Errorf("a:1 is %v, %v", i, err)
	}
	if i, err := s.Get("b:1"); err != nil || i.ID != digestOf(one.configuration()) || len(i.Tags) != 1 {
		t.Errorf("b:1 is %v, %v", i, err)
	}
	layers := func() int {
		entries, _ := os.ReadDir(s.path("layers"))
		return len(entries)
	}
	if layers() != 3 {
		t.Errorf("%d layers", layers())
	}
	i, _ := s.Get("b:1")
	dirs, release, err := s.Hold(i.Layers)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("b:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("b:1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a removed image: %v", err)
	}
	if _, err := os.Stat(dirs[0]); err != nil {
		t.Errorf("a held layer is gone: %v", err)
	}
	release()
	release() // twice is once
	if err := s.Collect(); err != nil {
		t.Fatal(err)
	}
	if layers() != 2 {
		t.Errorf("%d layers", layers())
	}
	if err := s.Remove("nosuch"); err != nil {
		t.Error(err)
	}
	if err := s.Remove("a:1"); err != nil {
		t.Error(err)
	}
	if bytes, inodes := s.Usage(); layers() != 0 || bytes != 0 || inodes != 0 {
		t.Errorf("%d layers, %d bytes, %d inodes", layers(), bytes, inodes)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	load(t, s, docker(t, false, img{tags: []string{"a"}, layers: [][]byte{layerOf(t, file("x", "y"))}}))
	want := s.List()
	if _, err := Open(s.cfg); err == nil || !strings.Contains(err.Error(), "another process uses the images") {
		t.Errorf("a second one: %v", err)
	}
	s.Close()
	for _, d := range []string{"new-7", "99"} {
		os.MkdirAll(filepath.Join(dir, "layers", d, "half"), 0o755)
	}
	s = open(t, dir)
	if diff := cmp.Diff(want, s.List()); diff != "" {
		t.Error(diff)
	}
	if entries, _ := os.ReadDir(s.path("layers")); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
	s.Close()
	// A reboot drops what was not on the disk yet, and what is damaged drops all.
	raw, _ := os.ReadFile(s.path("images.json"))
	var rec record
	json.Unmarshal(raw, &rec)
	rec.Boot = "another"
	for _, l := range rec.Layers {
		l.Synced = false
	}
	raw, _ = json.Marshal(rec)
	os.WriteFile(s.path("images.json"), raw, 0o600)
	s = open(t, dir)
	if len(s.List()) != 0 {
		t.Error("an image without its layers is listed")
	}
	s.Close()
	os.WriteFile(s.path("images.json"), []byte("{"), 0o600)
	s = open(t, dir)
	load(t, s, docker(t, false, img{tags: []string{"a"}, layers: [][]byte{layerOf(t, file("x", "y"))}}))
}

func TestLoadsAtOnceShareLayers(t *testing.T) {
	s := open(t, t.TempDir())
	base := layerOf(t, dir("d/", 0o755), file("d/f", strings.Repeat("x", 1<<20)))
	var wg sync.WaitGroup
	for n := range 8 {
		archive := docker(t, true, img{tags: []string{fmt.Sprintf("a:%d", n)}, layers: [][]byte{base, layerOf(t, file("d/own", fmt.Sprint(n)))}})
		wg.Go(func() {
			if _, err := s.Load(context.Background(), bytes.NewReader(archive)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if entries, _ := os.ReadDir(s.path("layers")); len(entries) != 9 || len(s.List()) != 8 {
		t.Errorf("%d layers, %d images", len(entries), len(s.List()))
	}
}

// registryFor serves an image, after auth, and counts what is asked.
func registryFor(t *testing.T, repo string, i img, user string, broken *atomic.Int32) (host string, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	var open atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if open.Load() {
			asked.Add(1)
			if u, p, ok := r.BasicAuth(); user != "" && (!ok || u != user || p != "pw") {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
				return
			}
			if broken != nil && strings.HasSuffix(r.URL.Path, "/blobs/"+digestOf(i.layers[0])) && broken.Add(-1) >= 0 {
				w.Header().Set("Content-Length", "100000")
				w.Write([]byte("half"))
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	host = strings.TrimPrefix(srv.URL, "http://")
	image := empty.Image
	cfg, _ := image.ConfigFile()
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = "linux", runtime.GOARCH
	cfg.Config.User = "me"
	image, err := mutate.ConfigFile(image, cfg)
	for _, l := range i.layers {
		if err == nil {
			image, err = mutate.AppendLayers(image, static.NewLayer(l, types.DockerUncompressedLayer))
		}
	}
	var index v1.ImageIndex = empty.Index
	index = mutate.AppendManifests(index,
		mutate.IndexAddendum{Add: empty.Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "mips"}}},
		mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	ref, rerr := name.ParseReference(host + "/" + repo)
	if err = errors.Join(err, rerr); err == nil {
		err = remote.WriteIndex(ref, index, remote.WithAuth(authn.Anonymous))
	}
	if err != nil {
		t.Fatal(err)
	}
	open.Store(true)
	return host, asked
}

func TestPull(t *testing.T) {
	i := img{layers: [][]byte{layerOf(t, file("a", "x")), layerOf(t, file("b", "y"))}}
	ctx := context.Background()
	t.Run("by tag and by digest", func(t *testing.T) {
		host, asked := registryFor(t, "team/app:v1", i, "", nil)
		s := open(t, t.TempDir())
		got, err := s.Pull(ctx, host+"/team/app:v1", Auth{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Digests) != 1 || !strings.HasPrefix(got.Digests[0], host+"/team/app@sha256:") || !slices.Equal(got.Tags, []string{host + "/team/app:v1"}) || got.Spec.User != "me" {
			t.Errorf("%+v", got)
		}
		merged(t, s, got.Tags[0], func(root string) {
			if raw, _ := os.ReadFile(root + "/b"); string(raw) != "y" {
				t.Errorf("%q", raw)
			}
		})
		before := asked.Load()
		if again, err := s.Pull(ctx, got.Digests[0], Auth{}); err != nil || again.ID != got.ID {
			t.Errorf("%v %v", again, err)
		}
		if n := asked.Load() - before; n > 4 {
			t.Errorf("%d requests for what is here", n)
		}
	})
	t.Run("with a password", func(t *testing.T) {
		host, _ := registryFor(t, "app", i, "joe", nil)
		s := open(t, t.TempDir())
		var refused *RegistryError
		if _, err := s.Pull(ctx, host+"/app", Auth{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "failed to pull and unpack image \""+host+"/app:latest\": failed to resolve reference") {
			t.Errorf("without: %v", err)
		}
		if _, err := s.Pull(ctx, host+"/app", Auth{Username: "joe", Password: "pw"}); err != nil {
			t.Error(err)
		}
		if _, err := s.Pull(ctx, host+"/app", Auth{Auth: "am9lOnB3"}); err != nil {
			t.Error(err)
		}
	})
	t.Run("mirror", func(t *testing.T) {
		host, asked := registryFor(t, "library/app:1", i, "", nil)
		s := open(t, t.TempDir(), func(c *Config) {
			c.Registries.Mirrors = map[string][]string{"docker.io": {"http://127.0.0.1:1", "http://" + host}}
		})
		got, err := s.Pull(ctx, "app:1", Auth{Username: "joe", Password: "pw"})
		if err != nil || !slices.Equal(got.Tags, []string{"docker.io/library/app:1"}) || asked.Load() == 0 {
			t.Errorf("%v %v", got, err)
		}
	})
	t.Run("broken transfers are repeated", func(t *testing.T) {
		broken := &atomic.Int32{}
		broken.Store(2)
		host, _ := registryFor(t, "app", i, "", broken)
		s := open(t, t.TempDir())
		if _, err := s.Pull(ctx, host+"/app", Auth{}); err != nil || broken.Load() > 0 {
			t.Errorf("%v, %d to break", err, broken.Load())
		}
	})
	t.Run("not there", func(t *testing.T) {
		host, _ := registryFor(t, "app", i, "", nil)
		s := open(t, t.TempDir())
		if _, err := s.Pull(ctx, host+"/other", Auth{}); err == nil {
			t.Error("pulled")
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.Pull(canceled, host+"/app", Auth{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
