package logs

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Follow writes the log and what is added to it, over rotations, until ctx
// ends or, once ended is closed, all that was written until then has been
// read. It sleeps until the file system tells of a change.
func Follow(ctx context.Context, out io.Writer, path string, o Options, ended <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the watch
	w := &writer{out: out, o: o, left: o.Limit}
	changes, err := watch(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	begin, _, err := w.bounds(f)
	if err == nil {
		_, err = f.Seek(begin, io.SeekStart)
	}
	r, rest, last := reader(f), []byte(nil), false
	if err == nil {
		rest, err = w.copy(r, nil)
	}
	for {
		if err != nil {
			if errors.Is(err, errLimit) {
				return nil
			}
			return err
		}
		if flusher, ok := out.(interface{ Flush() }); ok {
			flusher.Flush()
		}
		// The runtime rotates by renaming the file and making a new one.
		next, rotated, rerr := reopened(f, path)
		if rerr != nil {
			return rerr
		}
		if rotated {
			// What came between the last read and the rename.
			if _, err := w.copy(r, rest); err != nil && !errors.Is(err, errLimit) {
				next.Close()
				return err
			}
			f.Close()
			f, rest = next, nil
			r = reader(f)
			rest, err = w.copy(r, nil)
			continue
		}
		if last {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			last = true
		case _, ok := <-changes:
			if !ok {
				return nil
			}
		}
		rest, err = w.copy(r, rest)
	}
}

// reopened opens path if it is another file than f by now.
func reopened(f *os.File, path string) (*os.File, bool, error) {
	a, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	b, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, false, nil // about to be made, or gone for good
		}
		return nil, false, err
	}
	if os.SameFile(a, b) {
		return nil, false, nil
	}
	next, err := os.Open(path)
	return next, err == nil, err
}

// watch tells, on a channel that holds one token, of changes in a directory.
// The channel is closed when ctx ends.
func watch(ctx context.Context, dir string) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	// A non-blocking descriptor waits in the runtime's poller.
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE_SELF|unix.IN_ONLYDIR); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "watch", Path: dir, Err: err}
	}
	out := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { f.Close() })
	go func() {
		defer close(out)
		defer stop()
		defer f.Close()
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			if err != nil || n == 0 || ctx.Err() != nil {
				return
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, nil
}
