package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Bounds of an archive.
const (
	maxArchiveEntries = 1 << 16
	maxDocument       = 8 << 20
	maxArchiveBytes   = 256 << 30
)

// Load adds the images of an archive, plain or compressed: a docker-archive
// (docker save) or an OCI layout. It returns the names they are known by, or
// their IDs where they have none. The archive is read by need from r when r is
// a file, and else from a temporary copy on the disk; it is never held in memory.
func (s *Store) Load(ctx context.Context, r io.Reader) ([]string, error) {
	file, done, err := s.seekable(ctx, r)
	if err != nil {
		return nil, err
	}
	defer done()
	a, err := openArchive(file)
	if err != nil {
		return nil, err
	}
	sources, err := a.images()
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, errors.New("the archive holds no image for this node")
	}
	// Images share layers and wait for each other's, so all may go at once; the
	// store bounds how many layers are unpacked at a time.
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	images := make([]*Image, len(sources))
	for i, src := range sources {
		g.Go(func() error {
			img, err := s.install(gctx, src)
			if err != nil {
				what := "an image without a name"
				if len(src.tags) > 0 {
					what = src.tags[0]
				}
				return fmt.Errorf("loading %s: %w", what, err)
			}
			images[i] = img
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var names []string
	for i, src := range sources {
		img := images[i]
		if len(src.tags)+len(src.digests) == 0 {
			names = append(names, img.ID)
		}
		names = append(names, src.tags...)
		if len(src.tags) == 0 {
			names = append(names, src.digests...)
		}
	}
	return names, nil
}

// seekable returns r itself when it is a plain file that is not compressed, or
// else a copy of its decompressed content.
func (s *Store) seekable(ctx context.Context, r io.Reader) (*os.File, func(), error) {
	if f, ok := r.(*os.File); ok {
		var magic [4]byte
		st, err := f.Stat()
		if err == nil && st.Mode().IsRegular() {
			at, _ := f.Seek(0, io.SeekCurrent)
			n, _ := f.ReadAt(magic[:], at)
			if at == 0 && !bytes.HasPrefix(magic[:n], []byte{0x1f, 0x8b}) && !bytes.HasPrefix(magic[:n], []byte{0x28, 0xb5, 0x2f, 0xfd}) {
				return f, func() {}, nil
			}
		}
	}
	plain, done, err := decompress(r)
	if err != nil {
		return nil, nil, fmt.Errorf("decompressing the archive: %w", err)
	}
	defer done()
	tmp, err := os.CreateTemp(s.cfg.Dir, "load-")
	if err != nil {
		return nil, nil, err
	}
	os.Remove(tmp.Name())
	n, err := io.Copy(tmp, io.LimitReader(contextReader{ctx, plain}, maxArchiveBytes+1))
	if err == nil && n > maxArchiveBytes {
		err = fmt.Errorf("the archive is larger than %d bytes", int64(maxArchiveBytes))
	}
	if err != nil {
		tmp.Close()
		return nil, nil, fmt.Errorf("reading the archive: %w", err)
	}
	return tmp, func() { tmp.Close() }, nil
}

type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// archive is an index of a tar file's entries.
type archive struct {
	file    *os.File
	entries map[string]span
}

// span is where an entry's content is, or what it links to.
type span struct {
	offset, size int64
	link         string
}

func openArchive(file *os.File) (*archive, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	a := &archive{file: file, entries: map[string]span{}}
	r := io.NewSectionReader(file, 0, st.Size())
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not an archive of images: %w", err)
		}
		if len(a.entries) >= maxArchiveEntries {
			return nil, fmt.Errorf("the archive has more than %d entries", maxArchiveEntries)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		switch h.Typeflag {
		case tar.TypeReg:
			// The reader stands at the content: headers are read whole.
			at, err := r.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			a.entries[name] = span{offset: at, size: h.Size}
		case tar.TypeSymlink:
			a.entries[name] = span{link: strings.TrimPrefix(path.Join("/", path.Dir(name), h.Linkname), "/")}
		case tar.TypeLink:
			a.entries[name] = span{link: strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")}
		}
	}
}

func (a *archive) open(name string) (*io.SectionReader, error) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for range 8 {
		e, ok := a.entries[name]
		if !ok {
			break
		}
		if e.link == "" {
			return io.NewSectionReader(a.file, e.offset, e.size), nil
		}
		name = e.link
	}
	return nil, fmt.Errorf("the archive has no file %q", name)
}

func (a *archive) read(name string) ([]byte, error) {
	r, err := a.open(name)
	if err != nil {
		return nil, err
	}
	if r.Size() > maxDocument {
		return nil, fmt.Errorf("%q is larger than %d bytes", name, maxDocument)
	}
	return io.ReadAll(r)
}

func (a *archive) has(name string) bool {
	_, ok := a.entries[name]
	return ok
}

func (a *archive) layers(names []string) func(context.Context, int) (io.ReadCloser, error) {
	return func(_ context.Context, i int) (io.ReadCloser, error) {
		if i >= len(names) {
			return nil, errors.New("the archive has fewer layers than the image")
		}
		r, err := a.open(names[i])
		if err != nil {
			return nil, err
		}
		return io.NopCloser(r), nil
	}
}

func (a *archive) images() ([]source, error) {
	switch {
	case a.has("manifest.json"):
		return a.dockerImages()
	case a.has("index.json"):
		return a.ociImages()
	}
	return nil, errors.New("not an archive of images: it has neither manifest.json nor index.json")
}

func (a *archive) dockerImages() ([]source, error) {
	raw, err := a.read("manifest.json")
	if err != nil {
		return nil, err
	}
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, fmt.Errorf("decoding manifest.json: %w", err)
	}
	var all []source
	for _, m := range manifest {
		config, err := a.read(m.Config)
		if err != nil {
			return nil, err
		}
		src := source{config: config, open: a.layers(m.Layers)}
		for _, tag := range m.RepoTags {
			ref, err := ParseRef(tag)
			if err != nil {
				return nil, err
			}
			src.tags = append(src.tags, ref.String())
		}
		all = append(all, src)
	}
	return all, nil
}

// descriptor and manifest are the OCI image specification's.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
	Platform    *struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	} `json:"platform"`
}

type manifest struct {
	MediaType string       `json:"mediaType"`
	Manifests []descriptor `json:"manifests"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
}

func blobName(digest string) (string, error) {
	if !validDigest(digest) {
		return "", fmt.Errorf("%q is no sha256 digest", digest)
	}
	return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:"), nil
}

// blob reads a document and checks that it is what its digest says.
func (a *archive) blob(digest string) ([]byte, error) {
	name, err := blobName(digest)
	if err != nil {
		return nil, err
	}
	raw, err := a.read(name)
	if err != nil {
		return nil, err
	}
	if digestOf(raw) != digest {
		return nil, fmt.Errorf("the content of %s is %s", digest, digestOf(raw))
	}
	return raw, nil
}

func (a *archive) ociImages() ([]source, error) {
	raw, err := a.read("index.json")
	if err != nil {
		return nil, err
	}
	var index manifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("decoding index.json: %w", err)
	}
	var all []source
	for _, d := range index.Manifests {
		src, err := a.ociImage(d, 0)
		if err != nil {
			return nil, err
		}
		if src == nil {
			continue
		}
		if name := refName(d.Annotations); name != "" {
			ref, err := ParseRef(name)
			if err != nil {
				return nil, err
			}
			if ref.Digest == "" {
				src.tags = []string{ref.String()}
			}
			src.digests = []string{ref.Name + "@" + d.Digest}
		}
		all = append(all, *src)
	}
	return all, nil
}

// refName is the name an index gives an image. Tools that write only a tag
// where a name belongs give none that could be used.
func refName(annotations map[string]string) string {
	if name := annotations["io.containerd.image.name"]; name != "" {
		return name
	}
	if name := annotations["org.opencontainers.image.ref.name"]; strings.ContainsAny(name, ":/") {
		return name
	}
	return ""
}

// ociImage finds the image for this node below a descriptor, or returns nil.
func (a *archive) ociImage(d descriptor, depth int) (*source, error) {
	if depth > 4 {
		return nil, errors.New("the archive's indexes are nested too deeply")
	}
	if p := d.Platform; p != nil && (p.OS != "linux" || p.Architecture != runtime.GOARCH) {
		return nil, nil
	}
	raw, err := a.blob(d.Digest)
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("decoding manifest %s: %w", d.Digest, err)
	}
	for _, inner := range m.Manifests {
		if src, err := a.ociImage(inner, depth+1); src != nil || err != nil {
			return src, err
		}
	}
	if m.Config.Digest == "" {
		return nil, nil
	}
	config, err := a.blob(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(m.Layers))
	for i, l := range m.Layers {
		if names[i], err = blobName(l.Digest); err != nil {
			return nil, err
		}
	}
	return &source{config: config, open: a.layers(slices.Clip(names))}, nil
}
