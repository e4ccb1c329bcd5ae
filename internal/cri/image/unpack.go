package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Bounds of one layer: an honest one stays far below them.
const (
	maxLayerBytes   = 64 << 30
	maxLayerEntries = 4 << 20
)

const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	opaqueXattr    = "trusted.overlay.opaque"
)

// decompress reads gzip, zstd or plain data, whichever its first bytes say.
func decompress(r io.Reader) (io.Reader, func(), error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { z.Close() }, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return br, func() {}, nil
}

// unpacked is what came out of a layer.
type unpacked struct {
	diffID string
	bytes  int64
	inodes int64
	// implicit are directories that the layer uses but does not describe; they
	// are as the layers below say.
	implicit []string
}

// unpack extracts a layer, compressed or not, into the directory dir, in the
// form overlayfs takes as a lower layer. The layer is hostile until its digest
// says otherwise: every path is resolved by the kernel below dir, and nothing
// outside is ever touched.
func unpack(ctx context.Context, r io.Reader, dir string) (*unpacked, error) {
	plain, done, err := decompress(r)
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	defer done()
	root, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	hash := sha256.New()
	x := &extractor{root: root, dirs: map[string]time.Time{}, made: map[string]struct{}{}, parent: -1, buf: make([]byte, 256<<10)}
	defer x.forget()
	tee := io.TeeReader(plain, hash)
	tr := tar.NewReader(tee)
	var entries int64
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the layer: %w", err)
		}
		if entries++; entries > maxLayerEntries {
			return nil, fmt.Errorf("the layer has more than %d entries", maxLayerEntries)
		}
		if err := x.entry(h, tr); err != nil {
			return nil, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
	// What follows the end of the archive still counts for the digest.
	if _, err := io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(tee, maxLayerBytes), x.buf); err != nil {
		return nil, fmt.Errorf("reading the layer: %w", err)
	}
	if err := x.finish(); err != nil {
		return nil, err
	}
	u := &unpacked{diffID: "sha256:" + hex.EncodeToString(hash.Sum(nil)), bytes: x.bytes, inodes: x.inodes}
	if _, described := x.dirs[""]; !described {
		u.implicit = append(u.implicit, "")
	}
	for name := range x.made {
		u.implicit = append(u.implicit, name)
	}
	return u, nil
}

type onlyWriter struct{ io.Writer }

// extractor writes entries below root.
type extractor struct {
	root   int
	buf    []byte
	bytes  int64
	inodes int64
	dirs   map[string]time.Time // directories and their times, set at the end
	made   map[string]struct{}  // directories made for want of an entry

	// The directory of the last entry, open: neighbours mostly share it.
	parentName string
	parent     int
}

func (x *extractor) forget() {
	if x.parent >= 0 && x.parent != x.root {
		unix.Close(x.parent)
	}
	x.parent = -1
}

// cleanName makes a name of an entry relative and free of dots; "" is the root.
func cleanName(name string) (string, error) {
	if len(name) > unix.PathMax || strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("invalid name")
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// openBelow opens a directory below root. Symbolic links on the way are
// followed, but never out of root.
func openBelow(root int, name string, flags uint64) (int, error) {
	if name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(root, name, &unix.OpenHow{
			Flags:   flags | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		})
		// EAGAIN: something was renamed meanwhile, and the kernel cannot be sure.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// dir returns the open directory of that name, and makes it and those above it
// if they are missing. It is valid until the next call.
func (x *extractor) dir(name string) (int, error) {
	if x.parent >= 0 && x.parentName == name {
		return x.parent, nil
	}
	x.forget()
	if name == "" {
		x.parent, x.parentName = x.root, name
		return x.root, nil
	}
	fd, err := openBelow(x.root, name, unix.O_PATH|unix.O_DIRECTORY)
	if err == unix.ENOENT {
		up, base := path.Split(name)
		at, err := x.dir(strings.TrimSuffix(up, "/"))
		if err != nil {
			return -1, err
		}
		if err := unix.Mkdirat(at, base, 0o755); err != nil && err != unix.EEXIST {
			return -1, err
		}
		x.made[name] = struct{}{}
		x.inodes++
		fd, err = openBelow(x.root, name, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return -1, err
		}
		x.forget()
		x.parent, x.parentName = fd, name
		return fd, nil
	}
	if err != nil {
		return -1, err
	}
	x.parent, x.parentName = fd, name
	return fd, nil
}

// clear removes what stands where a new entry goes. A directory is kept when
// keepDir says that the entry is one too.
func (x *extractor) clear(at int, base string, keepDir bool) (kept bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(at, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false, unix.Unlinkat(at, base, 0)
	}
	if keepDir {
		return true, nil
	}
	return false, removeTree(at, base)
}

// removeTree removes a directory below at, without following links.
func removeTree(at int, base string) error {
	err := unix.Unlinkat(at, base, unix.AT_REMOVEDIR)
	if err != unix.ENOTEMPTY && err != unix.EEXIST {
		return err
	}
	fd, err := unix.Openat(at, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			err := unix.Unlinkat(fd, name, 0)
			if err == unix.EISDIR {
				err = removeTree(fd, name)
			}
			if err != nil {
				return err
			}
		}
	}
	return unix.Unlinkat(at, base, unix.AT_REMOVEDIR)
}

func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return errors.New("only a directory can be the root")
		}
		x.dirs[""] = h.ModTime
		return x.attributesOf(x.root, ".", h)
	}
	up, base := path.Split(name)
	up = strings.TrimSuffix(up, "/")
	at, err := x.dir(up)
	if err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return x.whiteout(at, up, base)
	}
	isDir := h.Typeflag == tar.TypeDir
	kept, err := x.clear(at, base, isDir)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if !kept {
			if err := unix.Mkdirat(at, base, 0o700); err != nil {
				return err
			}
			x.inodes++
		}
		delete(x.made, name)
		x.dirs[name] = h.ModTime
	case tar.TypeReg:
		x.inodes++
		return x.file(at, base, h, content)
	case tar.TypeLink:
		return x.link(at, base, h.Linkname)
	case tar.TypeSymlink:
		if len(h.Linkname) > unix.PathMax {
			return errors.New("invalid link")
		}
		if err := unix.Symlinkat(h.Linkname, at, base); err != nil {
			return err
		}
		x.inodes++
		x.forget() // names may lead elsewhere now
		at, err = x.dir(up)
		if err != nil {
			return err
		}
		if err := unix.Fchownat(at, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if err := xattrsOf(at, base, h); err != nil {
			return err
		}
		return setTime(at, base, h.ModTime)
	case tar.TypeFifo:
		x.inodes++
		if err := unix.Mknodat(at, base, unix.S_IFIFO|0o600, 0); err != nil {
			return err
		}
	case tar.TypeChar, tar.TypeBlock:
		x.inodes++
		kind := uint32(unix.S_IFCHR)
		if h.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
		if err := unix.Mknodat(at, base, kind|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))); err != nil {
			return err
		}
	default:
		return fmt.Errorf("entries of type %q are not supported", h.Typeflag)
	}
	if err := x.attributesOf(at, base, h); err != nil {
		return err
	}
	if isDir {
		return nil
	}
	return setTime(at, base, h.ModTime)
}

// whiteout marks what the layer removes from those below it.
func (x *extractor) whiteout(at int, up, base string) error {
	if base == whiteoutOpaque {
		fd, err := openBelow(x.root, up, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fsetxattr(fd, opaqueXattr, []byte("y"), 0)
	}
	base = strings.TrimPrefix(base, whiteoutPrefix)
	if base == "" || base == "." || base == ".." {
		return errors.New("invalid whiteout")
	}
	if strings.HasPrefix(base, ".wh.") {
		return nil // older tools' own bookkeeping
	}
	// Only names of lower layers are hidden: what this layer holds stays.
	var st unix.Stat_t
	if unix.Fstatat(at, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return nil
	}
	x.inodes++
	return unix.Mknodat(at, base, unix.S_IFCHR, 0)
}

// link makes a hard link to a file of the same layer.
func (x *extractor) link(at int, base, target string) error {
	target, err := cleanName(target)
	if err != nil {
		return err
	}
	up, from := path.Split(target)
	fd, err := openBelow(x.root, strings.TrimSuffix(up, "/"), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("linking to %q: %w", target, err)
	}
	defer unix.Close(fd)
	if err := unix.Linkat(fd, from, at, base, 0); err != nil {
		return fmt.Errorf("linking to %q: %w", target, err)
	}
	return nil
}

func (x *extractor) file(at int, base string, h *tar.Header, content io.Reader) error {
	if x.bytes += h.Size; x.bytes > maxLayerBytes {
		return fmt.Errorf("the layer is larger than %d bytes", int64(maxLayerBytes))
	}
	fd, err := unix.Openat(at, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		n, err := io.ReadFull(content, x.buf)
		for p := x.buf[:n]; len(p) > 0; {
			m, err := unix.Write(fd, p)
			if err != nil {
				return err
			}
			p = p[m:]
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return err
	}
	for name, value := range xattrs(h) {
		if err := unix.Fsetxattr(fd, name, []byte(value), 0); err != nil && err != unix.ENOTSUP {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	ts := unix.NsecToTimespec(h.ModTime.UnixNano())
	return unix.UtimesNanoAt(fd, "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
}

// attributesOf sets owner, mode and extended attributes of what is no link.
func (x *extractor) attributesOf(at int, base string, h *tar.Header) error {
	if err := unix.Fchownat(at, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	// The entry was made here and is no link, so following is of no matter.
	if err := unix.Fchmodat(at, base, uint32(h.Mode&0o7777), 0); err != nil {
		return err
	}
	return xattrsOf(at, base, h)
}

func xattrsOf(at int, base string, h *tar.Header) error {
	for name, value := range xattrs(h) {
		err := unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", at, base), name, []byte(value), 0)
		if err != nil && err != unix.ENOTSUP && err != unix.EPERM {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

// xattrs are the extended attributes a layer may set: not those by which
// overlayfs itself is steered.
func xattrs(h *tar.Header) map[string]string {
	var all map[string]string
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, "SCHILY.xattr.")
		if !ok || strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		if all == nil {
			all = map[string]string{}
		}
		all[name] = value
	}
	return all
}

func setTime(at int, base string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return unix.UtimesNanoAt(at, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// finish sets the directories' times, which their contents disturbed.
func (x *extractor) finish() error {
	for name, t := range x.dirs {
		fd, err := openBelow(x.root, name, unix.O_PATH|unix.O_DIRECTORY)
		if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
			continue // a later entry replaced it
		}
		if err != nil {
			return err
		}
		ts := unix.NsecToTimespec(t.UnixNano())
		err = unix.UtimesNanoAt(fd, "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}
