package pebble

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"clipper/internal/store"
)

const (
	// Space kept back for what pebble must still write when no more writes
	// are taken: its log, the flush of its memtables, a compaction.
	reserveMost  = 32 << 20
	reserveShare = 4 // or this part of a small disk
	// lookAgain is how often a file operation that found the disk full tries
	// again: the kernel does not tell when space comes back.
	lookAgain = 250 * time.Millisecond
)

// diskFS is the file system as pebble sees it: the disk is never full, its
// operations only take longer until space is there again. Pebble could not go
// on after a failed write to its log or manifest.
//
// While a new store is born its syncs are put off: nothing in it was
// acknowledged yet, and one sync of each file at the end does.
type diskFS struct {
	vfs.FS
	dir   string
	clock clock.Clock

	waiting   atomic.Int32 // operations that wait for space
	abandoned atomic.Bool  // they shall wait forever

	mu     sync.Mutex
	again  chan struct{}       // closed to let the waiting ones try at once
	unsure map[string]struct{} // files to sync at the end of birth
	lock   io.Closer
}

// short tells whether writes must be refused. Deletions may use half of the
// reserve: they are how a store that filled the disk becomes smaller.
func (d *diskFS) short(deletion bool) bool {
	u, err := d.FS.GetDiskUsage(d.dir)
	if err == nil { // otherwise the file system cannot tell; the write will
		reserve := min(reserveMost, u.TotalBytes/reserveShare)
		if deletion {
			reserve /= 2
		}
		if u.AvailBytes < reserve {
			return true
		}
	}
	return d.stalled()
}

// probe fails if the disk is too full to open a store, which would wait. It
// writes a little, since not every file system tells of its limits.
func (d *diskFS) probe() error {
	if d.short(true) {
		return store.ErrNoSpace
	}
	name := d.FS.PathJoin(d.dir, probeFile)
	f, err := d.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(make([]byte, 64<<10))
		err = errors.Join(err, f.Close(), d.FS.Remove(name))
	}
	if isFull(err) {
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	}
	return err
}

// stalled tells whether operations wait for space, and has them look again:
// whoever asks may know of space.
func (d *diskFS) stalled() bool {
	if d.waiting.Load() == 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.again)
	d.again = make(chan struct{})
	return true
}

func (d *diskFS) tryAgain() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.again
}

// try repeats op until it fails for another reason than a full disk.
func (d *diskFS) try(op func() error) error {
	err := op()
	if !isFull(err) {
		return err
	}
	d.waiting.Add(1)
	defer d.waiting.Add(-1)
	for isFull(err) {
		t := d.clock.NewTimer(lookAgain)
		select {
		case <-t.C():
		case <-d.tryAgain():
			t.Stop()
		}
		if d.abandoned.Load() {
			select {}
		}
		err = op()
	}
	return err
}

func isFull(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT))
}

func (d *diskFS) Create(name string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = d.try(func() error { f, err = d.FS.Create(name, category); return err })
	return d.wrap(name, f, err)
}

func (d *diskFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (f vfs.File, err error) {
	err = d.try(func() error { f, err = d.FS.OpenReadWrite(name, category, opts...); return err })
	return d.wrap(name, f, err)
}

func (d *diskFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = d.try(func() error { f, err = d.FS.ReuseForWrite(oldname, newname, category); return err })
	return d.wrap(newname, f, err)
}

func (d *diskFS) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	return d.wrap(name, f, err)
}

func (d *diskFS) Link(oldname, newname string) error {
	return d.try(func() error { return d.FS.Link(oldname, newname) })
}

func (d *diskFS) Rename(oldname, newname string) error {
	err := d.try(func() error { return d.FS.Rename(oldname, newname) })
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.unsure[oldname]; ok {
		delete(d.unsure, oldname)
		d.unsure[newname] = struct{}{}
	}
	return nil
}

func (d *diskFS) Remove(name string) error {
	if err := d.FS.Remove(name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.unsure, name)
	return nil
}

func (d *diskFS) MkdirAll(dir string, perm os.FileMode) error {
	return d.try(func() error { return d.FS.MkdirAll(dir, perm) })
}

// Lock remembers the lock, so that it can be given up without pebble.
func (d *diskFS) Lock(name string) (io.Closer, error) {
	l, err := d.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lock = l
	return d, nil
}

// Close gives up the lock; it is the lock that pebble holds.
func (d *diskFS) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return nil
	}
	l := d.lock
	d.lock = nil
	return l.Close()
}

func (d *diskFS) Unwrap() vfs.FS { return d.FS }

func (d *diskFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, fs: d, name: name}, nil
}

// putOff notes that name needs a sync, and tells whether that can wait.
func (d *diskFS) putOff(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unsure == nil {
		return false
	}
	d.unsure[name] = struct{}{}
	return true
}

// beginBirth lets syncs wait until endBirth.
func (d *diskFS) beginBirth() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unsure = map[string]struct{}{}
}

// endBirth makes all durable that was written since beginBirth.
func (d *diskFS) endBirth() error {
	d.mu.Lock()
	unsure := d.unsure
	d.unsure = nil
	d.mu.Unlock()
	delete(unsure, d.dir) // last: it names the others
	var g errgroup.Group  // the disk makes one of syncs at the same time
	for name := range unsure {
		g.Go(func() error { return d.syncFile(name) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return d.syncFile(d.dir)
}

func (d *diskFS) syncFile(name string) error {
	f, err := d.FS.OpenDir(name) // opens files as well
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type diskFile struct {
	vfs.File
	fs   *diskFS
	name string
}

func (f *diskFile) Write(p []byte) (n int, err error) {
	err = f.fs.try(func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, err
}

func (f *diskFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.try(func() error {
		m, err := f.File.WriteAt(p[n:], off+int64(n))
		n += m
		return err
	})
	return n, err
}

func (f *diskFile) Sync() error {
	if f.fs.putOff(f.name) {
		return nil
	}
	return f.File.Sync()
}

func (f *diskFile) SyncData() error {
	if f.fs.putOff(f.name) {
		return nil
	}
	return f.File.SyncData()
}

func (f *diskFile) SyncTo(length int64) (bool, error) {
	if f.fs.putOff(f.name) {
		return false, nil
	}
	return f.File.SyncTo(length)
}
