package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"k8s.io/utils/clock"

	"clipper/internal/store"
)

// Config of a Store. The zero value of a field is its default.
type Config struct {
	// Dir holds the database; it is created if needed. It must hold nothing
	// else.
	Dir string
	// Memory keeps everything in memory: nothing is synced and nothing
	// outlives Close. Dir and FS are not used.
	Memory bool
	// FS is the file system that Dir is on; the operating system's by default.
	FS    vfs.FS
	Clock clock.Clock
	// Logger gets what pebble reports; slog's default logger by default.
	Logger *slog.Logger
	// HistoryKept is how long past revisions can be read, at least; 5 minutes
	// by default, forever if negative. Older ones are compacted as writes go on.
	HistoryKept time.Duration
}

// Store implements store.Store.
type Store struct {
	db     *pebble.DB
	cache  *pebble.Cache
	disk   *diskFS // nil in memory
	clock  clock.Clock
	log    *slog.Logger
	memory bool

	// life is held for reading while the database is used, and for writing to
	// close it.
	life   sync.RWMutex
	closed bool

	visible   atomic.Int64 // the newest revision that was acknowledged
	compacted atomic.Int64
	gaps      atomic.Pointer[[]gap]

	queue   queue
	commits committer
	batches chan *batch
	flying  atomic.Int64       // batches between committer and finisher
	trims   chan chan struct{} // closed once recent states are forgotten
	stop    chan struct{}
	gone    chan struct{}   // closed when the database is left behind
	ending  context.Context // ends background work
	end     context.CancelFunc
	loops   sync.WaitGroup

	watches   watches
	compactMu sync.Mutex
	tidying   atomic.Bool
	tidyTo    atomic.Int64 // the revision before which all may be forgotten
}

var _ store.Store = (*Store)(nil)

// birthMark is in the directory while a store is being created in it. What is
// found beside it was never used and is removed.
const birthMark = "CREATING"

// probeFile is only there while a store is being opened.
const probeFile = "PROBE"

// Open opens the store in the directory, or creates it. The errors say what is
// wrong with the directory: in use by another process, damaged, or not a store.
func Open(c Config) (_ *Store, err error) {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.HistoryKept == 0 {
		c.HistoryKept = 5 * time.Minute
	}
	s := &Store{
		clock:   c.Clock,
		log:     c.Logger,
		memory:  c.Memory,
		batches: make(chan *batch, 8),
		trims:   make(chan chan struct{}),
		stop:    make(chan struct{}),
		gone:    make(chan struct{}),
	}
	s.queue.init()
	s.commits.kept = c.HistoryKept
	s.ending, s.end = context.WithCancel(context.Background())

	if c.Memory {
		err = s.openMemory()
	} else {
		err = s.openDisk(c)
	}
	if err == nil {
		if err = s.resume(); err != nil {
			err = errors.Join(err, s.db.Close())
		}
	}
	if err != nil {
		if s.cache != nil {
			s.cache.Unref()
		}
		if s.disk != nil {
			err = errors.Join(err, s.disk.Close())
		}
		if !c.Memory {
			err = fmt.Errorf("store in %s: %w", c.Dir, err)
		}
		return nil, err
	}

	s.loops.Add(2)
	go s.commitLoop()
	go s.finishLoop()
	return s, nil
}

func (s *Store) options() *pebble.Options {
	// Memtables count against it: two full ones leave most for blocks.
	s.cache = pebble.NewCache(12 << 20)
	o := &pebble.Options{
		Cache:              s.cache,
		Logger:             logger{s.log},
		EventListener:      &pebble.EventListener{BackgroundError: s.backgroundError},
		FormatMajorVersion: pebble.FormatNewest,
		// Memtables begin at 256 KiB and double up to this size. Two of them stay
		// for good, and they are part of the heap. As they are small, so are the
		// tables that they become, and more of those are compacted together.
		MemTableSize:                2 << 20,
		MemTableStopWritesThreshold: 8,
		L0CompactionThreshold:       8,
		MaxOpenFiles:                256,
		MaxManifestFileSize:         4 << 20,
		DisableTableStats:           true,
		DisableWAL:                  s.memory,
	}
	o.Comparer = comparer()
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	// Values are small: a block apart for those of past states costs more than
	// it saves.
	o.Experimental.SpanPolicyFunc = func([]byte) (pebble.SpanPolicy, []byte, error) {
		return pebble.SpanPolicy{DisableValueSeparationBySuffix: true, ValueStoragePolicy: pebble.ValueStorageLowReadLatency}, nil, nil
	}
	o.Experimental.CompactionScheduler = newScheduler()
	o.Experimental.FileCacheShards = 1
	return o
}

func (s *Store) openMemory() (err error) {
	o := s.options()
	o.FS = vfs.NewMem()
	s.db, err = pebble.Open("", o)
	return err
}

func (s *Store) openDisk(c Config) error {
	if c.Dir == "" {
		return errors.New("no directory was named")
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	s.disk = &diskFS{FS: c.FS, dir: c.Dir, clock: c.Clock, again: make(chan struct{})}
	if err := c.FS.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	lock, err := pebble.LockDirectory(c.Dir, s.disk)
	if err != nil {
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "lock held") {
			return fmt.Errorf("in use by another process: %w", err)
		}
		return err
	}
	if err := s.openLocked(c, lock); err != nil {
		return errors.Join(err, lock.Close())
	}
	// From here on the database holds the lock; Close gives it up.
	return lock.Close()
}

func (s *Store) openLocked(c Config, lock *pebble.Lock) (err error) {
	born, err := prepare(c.FS, c.Dir)
	if err != nil {
		return err
	}
	if err := s.disk.probe(); err != nil {
		return err
	}
	if !born {
		if err := writeBirthMark(c.FS, c.Dir); err != nil {
			return err
		}
		s.disk.beginBirth()
	}
	o := s.options()
	o.FS = s.disk
	o.Lock = lock
	if err := s.openGuarded(c.Dir, o); err != nil {
		return err
	}
	if born {
		return nil
	}
	// The log of a new database is of its oldest format, in which damage looks
	// like the end; a flush begins another.
	err = s.db.Flush()
	if err == nil {
		err = s.disk.endBirth()
	}
	if err == nil {
		err = c.FS.Remove(c.FS.PathJoin(c.Dir, birthMark))
	}
	if err == nil {
		err = s.disk.syncFile(c.Dir)
	}
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// openGuarded turns what pebble panics with, when files are damaged, into an
// error.
func (s *Store) openGuarded(dir string, o *pebble.Options) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	if s.db, err = pebble.Open(dir, o); err != nil {
		if pebble.IsCorruptionError(err) {
			return fmt.Errorf("damaged: %w", err)
		}
		return fmt.Errorf("cannot be opened: %w", err)
	}
	return nil
}

// prepare tells whether the directory holds a store. It clears away one whose
// creation was cut short, and refuses a directory that holds other things.
func prepare(fs vfs.FS, dir string) (born bool, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return false, err
	}
	if slices.Contains(names, birthMark) {
		for _, name := range names {
			if name == "LOCK" {
				continue
			}
			if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
				return false, err
			}
		}
		return false, nil
	}
	for _, name := range names {
		if name == "LOCK" || name == "lost+found" || name == probeFile {
			continue
		}
		desc, err := pebble.Peek(dir, fs)
		if err != nil {
			return false, fmt.Errorf("damaged: %w", err)
		}
		if !desc.Exists {
			return false, fmt.Errorf("the directory holds no store, but other files (%s); name an empty one", name)
		}
		return true, nil
	}
	return false, nil
}

func writeBirthMark(fs vfs.FS, dir string) error {
	f, err := fs.Create(fs.PathJoin(dir, birthMark), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Revision implements store.Store.
func (s *Store) Revision() int64 { return s.visible.Load() }

// Close implements store.Store. On a full disk it gives up what was not
// acknowledged, and returns ErrNoSpace.
func (s *Store) Close() error {
	if !s.queue.close() {
		return nil
	}
	s.end()
	close(s.stop)
	if s.disk != nil && s.disk.waiting.Load() > 0 {
		// Pebble waits inside the file system and cannot be closed. It stays
		// behind, waiting, and writes nothing any more.
		s.disk.abandoned.Store(true)
		close(s.gone)
		s.watches.fail(store.ErrClosed)
		return errors.Join(store.ErrNoSpace, s.disk.Close())
	}
	s.loops.Wait()
	s.watches.fail(store.ErrClosed)

	s.life.Lock()
	defer s.life.Unlock()
	s.closed = true
	err := s.endRevisions()
	err = errors.Join(err, s.db.Close())
	s.cache.Unref()
	if s.disk != nil {
		err = errors.Join(err, s.disk.Close())
	}
	return err
}

// Trim lets go of what is only kept to make writes quicker. It returns when
// that is done, or when the store is closed.
func (s *Store) Trim() {
	done := make(chan struct{})
	select {
	case s.trims <- done:
		<-done
	case <-s.stop:
	}
}

// use keeps the database open until the returned function is called.
func (s *Store) use() (done func(), err error) {
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return nil, store.ErrClosed
	}
	return s.life.RUnlock, nil
}

func (s *Store) backgroundError(err error) {
	s.log.Error("store: background work failed", "err", err)
}

// logger passes on pebble's errors. Its chatter is left out.
type logger struct{ log *slog.Logger }

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("store: pebble", "err", fmt.Sprintf(format, args...))
}

// Fatalf ends the process: pebble cannot go on, and nothing that was not
// acknowledged may be shown. The next start recovers from the log.
func (l logger) Fatalf(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	l.log.Error("store: pebble cannot go on", "err", msg)
	panic("store: " + msg)
}
