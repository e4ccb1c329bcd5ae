package pebble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"clipper/internal/store"
)

// fullFS is a disk that can be full, whatever it says of its free space.
type fullFS struct {
	vfs.FS
	full atomic.Bool
	hits chan struct{} // a value for each refused operation, while there is room
}

func newFullFS() *fullFS { return &fullFS{FS: vfs.NewMem(), hits: make(chan struct{}, 1)} }

func (f *fullFS) refuse() error {
	if !f.full.Load() {
		return nil
	}
	select {
	case f.hits <- struct{}{}:
	default:
	}
	return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
}

func (f *fullFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.refuse(); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	return &fullFile{file, f}, err
}

type fullFile struct {
	vfs.File
	fs *fullFS
}

// Write writes a part of what does not fit, as a disk does.
func (f *fullFile) Write(p []byte) (int, error) {
	if err := f.fs.refuse(); err != nil {
		n, _ := f.File.Write(append([]byte(nil), p[:len(p)/2]...))
		return n, err
	}
	return f.File.Write(p)
}

// TestDiskRunsFull fills the disk under a write that was let through.
func TestDiskRunsFull(t *testing.T) {
	fs := newFullFS()
	s := mustOpen(t, Config{Dir: "/store", FS: fs})
	ctx := context.Background()
	if _, err := s.Apply(ctx, store.Write{Key: "/a", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	fs.full.Store(true)
	caught := make(chan error, 1)
	go func() {
		_, err := s.Apply(ctx, store.Write{Key: "/caught", Value: make([]byte, 100<<10)})
		caught <- err
	}()
	<-fs.hits
	for s.disk.waiting.Load() == 0 { // the refusal is on its way back from the disk
		runtime.Gosched()
	}
	impatient, cancel := context.WithCancel(ctx)
	for i := range 3 {
		if _, err := s.Apply(ctx, store.Write{Key: fmt.Sprint("/b", i), Value: []byte("1")}); !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("Apply on a full disk: %v", err)
		}
		if item, err := s.Get(impatient, "/a"); err != nil || string(item.Value) != "1" {
			t.Errorf("Get on a full disk: %v, %v", item, err)
		}
		if page, err := s.List(ctx, store.Range{Prefix: "/"}); err != nil || len(page.Items) != 1 {
			t.Errorf("List on a full disk: %v, %v", page, err)
		}
	}
	cancel()
	if s.Revision() != 2 {
		t.Errorf("Revision is %d", s.Revision())
	}

	fs.full.Store(false)
	if err := <-caught; err != nil {
		t.Errorf("the write that was caught: %v", err)
	}
	if revision, err := s.Apply(ctx, store.Write{Key: "/c", Value: []byte("1")}); err != nil || revision != 4 {
		t.Errorf("Apply with space again: %d, %v", revision, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: "/store", FS: fs})
	defer s.Close()
	page, err := s.List(ctx, store.Range{Prefix: "/"})
	if err != nil || len(page.Items) != 3 || s.Revision() != 4 {
		t.Errorf("after opening again: %d items, revision %d, %v", len(page.Items), s.Revision(), err)
	}
}

// TestCloseOnFullDisk gives up what waits, and nothing that was acknowledged.
func TestCloseOnFullDisk(t *testing.T) {
	fs := newFullFS()
	s := mustOpen(t, Config{Dir: "/store", FS: fs})
	ctx := context.Background()
	if _, err := s.Apply(ctx, store.Write{Key: "/a", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	fs.full.Store(true)
	caught := make(chan error, 1)
	go func() {
		_, err := s.Apply(ctx, store.Write{Key: "/caught", Value: []byte("1")})
		caught <- err
	}()
	<-fs.hits
	if err := s.Close(); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Close: %v", err)
	}
	if err := <-caught; !errors.Is(err, store.ErrClosed) {
		t.Errorf("the write that was caught: %v", err)
	}
	fs.full.Store(false)
	s = mustOpen(t, Config{Dir: "/store", FS: fs})
	defer s.Close()
	if _, err := s.Get(ctx, "/a"); err != nil {
		t.Error(err)
	}
}

// TestOpenOnFullDisk fails rather than waits, and leaves nothing behind that
// keeps it from succeeding with space again.
func TestOpenOnFullDisk(t *testing.T) {
	for _, filled := range []bool{false, true} {
		fs := newFullFS()
		if filled {
			s := mustOpen(t, Config{Dir: "/store", FS: fs})
			if _, err := s.Apply(context.Background(), store.Write{Key: "/a", Value: []byte("1")}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		fs.full.Store(true)
		for range 2 {
			if s, err := Open(Config{Dir: "/store", FS: fs}); err == nil {
				s.Close()
				t.Fatal("Open succeeded")
			} else if !errors.Is(err, store.ErrNoSpace) {
				t.Errorf("Open: %v", err)
			}
		}
		fs.full.Store(false)
		s := mustOpen(t, Config{Dir: "/store", FS: fs})
		if _, err := s.Get(context.Background(), "/a"); (err == nil) != filled {
			t.Errorf("Get: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReserve refuses writes, and then deletions too, before the disk is full.
func TestReserve(t *testing.T) {
	fs := vfs.NewMem()
	space := func(avail uint64) {
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: avail, TotalBytes: 1 << 40})
	}
	space(1 << 40)
	s := mustOpen(t, Config{Dir: "/store", FS: fs})
	defer s.Close()
	ctx := context.Background()
	var last int64
	for i := range 2 {
		revision, err := s.Apply(ctx, store.Write{Key: fmt.Sprint("/", i), Value: []byte("1")})
		if err != nil {
			t.Fatal(err)
		}
		last = revision
	}
	write := store.Write{Key: "/1", Value: []byte("2"), Expect: last}
	deletion := store.Write{Key: "/0", Expect: 2}

	space(reserveMost - 1)
	if _, err := s.Apply(ctx, write); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a write into the reserve: %v", err)
	}
	if _, err := s.Apply(ctx, deletion); err != nil {
		t.Errorf("a deletion in the reserve: %v", err)
	}
	space(reserveMost/2 - 1)
	if _, err := s.Apply(ctx, store.Write{Key: "/1", Expect: last}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a deletion in the rest of the reserve: %v", err)
	}
	if err := s.Compact(ctx, last); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a compaction in the rest of the reserve: %v", err)
	}
	space(reserveMost)
	if revision, err := s.Apply(ctx, write); err != nil || revision != last+2 {
		t.Errorf("a write with space again: %d, %v", revision, err)
	}
}

// smallDisk returns the path of a file system of a size. It is mounted nowhere,
// and so is gone with this process, however that ends.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	at := t.TempDir()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mounting a small file system (root is needed): %v", err)
	}
	root, err := os.Open(at)
	if err := errors.Join(err, unix.Unmount(at, unix.MNT_DETACH)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", root.Fd())
}

// TestRealDisk fills a small file system beside the store and under it.
func TestRealDisk(t *testing.T) {
	dir := smallDisk(t, "128m") // as much as the whole reserve needs
	place := filepath.Join(dir, "store")
	s := mustOpen(t, Config{Dir: place})
	ctx := context.Background()
	value := make([]byte, 64<<10)
	for i := range value {
		value[i] = byte(i * i * i >> 7)
	}
	n := 0
	fill := func() {
		t.Helper()
		for ; n < 10000; n++ {
			value[n%len(value)]++
			_, err := s.Apply(ctx, store.Write{Key: fmt.Sprintf("/%05d", n), Value: append([]byte(nil), value...)})
			if errors.Is(err, store.ErrNoSpace) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Fatal("the disk was never full")
	}
	check := func() {
		t.Helper()
		if page, err := s.List(ctx, store.Range{Prefix: "/", Limit: 1}); err != nil || page.Remaining != int64(n-1) {
			t.Fatalf("List: %d remain of %d, %v", page.Remaining, n, err)
		}
	}

	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	fill()
	check()
	// Another process takes all that is left, the reserve too.
	other, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = other.Write(value)
	}
	other.Close()
	if _, err := s.Apply(ctx, store.Write{Key: "/none", Value: value}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Apply on a disk without any space: %v", err)
	}
	check()

	for _, name := range []string{ballast, other.Name()} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	// What waits for space looks for it in its own time.
	before := n
	for deadline := time.Now().Add(30 * time.Second); n == before && time.Now().Before(deadline); {
		fill()
	}
	if n == before {
		t.Error("nothing could be written with space again")
	}
	check()
	// It is full again: a flush that still waits for space is told of, and given up.
	if err := s.Close(); err != nil && !errors.Is(err, store.ErrNoSpace) {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: place, HistoryKept: time.Hour})
	defer s.Close()
	check()
}
