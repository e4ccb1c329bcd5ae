//go:build linux && cgo

package main

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tapBuffer is how far an attached reader may fall behind before it is let go.
const tapBuffer = 1 << 20

// buffers are shared by all containers. A quiet one holds none.
type buffers struct {
	read  sync.Pool // *[maxLine]byte
	write sync.Pool // *[]byte, empty
}

func newBuffers() *buffers {
	return &buffers{
		read:  sync.Pool{New: func() any { return new([maxLine]byte) }},
		write: sync.Pool{New: func() any { return new([]byte) }},
	}
}

// output is one of a container's output streams, or its terminal: it goes to
// the log and to whoever is attached.
type output struct {
	name    string // "stdout" or "stderr"
	src     *os.File
	log     *logFile
	buffers *buffers

	mu   sync.Mutex
	taps map[*tap]struct{}
	done bool
}

// pump copies until the stream ends.
func (o *output) pump() {
	defer o.src.Close()
	raw, err := o.src.SyscallConn()
	if err == nil {
		for err == nil {
			err = o.copyChunk(raw.Read)
		}
	}
	o.log.end(o.name)
	o.mu.Lock()
	o.done = true
	taps := o.taps
	o.taps = nil
	o.mu.Unlock()
	for t := range taps {
		t.finish()
	}
}

// copyChunk waits until there is something to read. The buffer is taken only
// then, and given back before waiting again.
func (o *output) copyChunk(read func(func(uintptr) bool) error) error {
	var failed error
	err := read(func(fd uintptr) bool {
		buf := o.buffers.read.Get().(*[maxLine]byte)
		defer o.buffers.read.Put(buf)
		n, err := unix.Read(int(fd), buf[:])
		switch {
		case err == unix.EAGAIN:
			return false
		case err == unix.EINTR:
			return true
		case err != nil:
			failed = err // EIO is how a terminal ends
		case n == 0:
			failed = io.EOF
		default:
			o.log.write(o.name, buf[:n])
			o.mu.Lock()
			for t := range o.taps {
				if !t.write(buf[:n]) {
					delete(o.taps, t)
				}
			}
			o.mu.Unlock()
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}

// attach adds a reader; it is finished at once when the stream has ended.
func (o *output) attach(t *tap) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		t.finish()
		return
	}
	if o.taps == nil {
		o.taps = map[*tap]struct{}{}
	}
	o.taps[t] = struct{}{}
}

func (o *output) detach(t *tap) {
	o.forget(t)
	t.drop()
}

// release is detach, but the reader gets what is queued.
func (o *output) release(t *tap) {
	o.forget(t)
	t.finish()
}

func (o *output) forget(t *tap) {
	o.mu.Lock()
	delete(o.taps, t)
	o.mu.Unlock()
}

// tap is one attached reader of an output.
type tap struct {
	dst  *os.File
	done chan struct{} // closed when all is written, or the reader is gone

	mu     sync.Mutex
	cond   sync.Cond
	buf    []byte
	ending bool
}

func newTap(dst *os.File) *tap {
	t := &tap{dst: dst, done: make(chan struct{})}
	t.cond.L = &t.mu
	go t.run()
	return t
}

// write queues a copy of p and reports whether the reader is still there.
func (t *tap) write(p []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ending && len(t.buf)+len(p) > tapBuffer {
		t.ending, t.buf = true, nil
		t.dst.Close()
	}
	if t.ending {
		return false
	}
	t.buf = append(t.buf, p...)
	t.cond.Signal()
	return true
}

// finish ends the reader after what is queued.
func (t *tap) finish() {
	t.mu.Lock()
	t.ending = true
	t.cond.Signal()
	t.mu.Unlock()
}

// drop ends the reader now.
func (t *tap) drop() {
	t.mu.Lock()
	t.ending, t.buf = true, nil
	t.cond.Signal()
	t.mu.Unlock()
	t.dst.Close()
}

func (t *tap) run() {
	defer close(t.done)
	defer t.dst.Close()
	for {
		t.mu.Lock()
		for len(t.buf) == 0 && !t.ending {
			t.cond.Wait()
		}
		buf := t.buf
		t.buf = nil
		t.mu.Unlock()
		if len(buf) == 0 {
			return
		}
		if _, err := t.dst.Write(buf); err != nil {
			t.finish()
			return
		}
	}
}

// streams are a container's standard streams, as this process holds them.
type streams struct {
	outputs []*output // stdout and stderr, or the terminal
	console *os.File  // the terminal's master end, or nil
	log     *logFile

	mu     sync.Mutex
	stdin  *os.File // the writing end, or the terminal, or nil
	once   bool
	pumps  sync.WaitGroup
	pumped chan struct{}
}

func (s *streams) run() {
	for _, o := range s.outputs {
		s.pumps.Go(o.pump)
	}
	s.pumped = make(chan struct{})
	go func() {
		s.pumps.Wait()
		close(s.pumped)
	}()
}

// feed copies an attached input until it ends. It tells whether the container
// may be attached to again for more: then the end of the input is the client's
// wish to leave.
func (s *streams) feed(src *os.File) (leaves bool) {
	s.mu.Lock()
	dst := s.stdin
	s.mu.Unlock()
	if dst == nil {
		return false
	}
	io.Copy(dst, src)
	if s.once && s.console == nil {
		s.closeStdin()
		return false
	}
	return true
}

func (s *streams) closeStdin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin != nil && s.console == nil {
		s.stdin.Close()
	}
	s.stdin = nil
}

// drain waits for the outputs' ends after the container's exit. A process of
// another container may hold a stream open; it is not waited for beyond limit.
func (s *streams) drain(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.pumped:
	case <-timer.C:
		for _, o := range s.outputs {
			o.src.Close()
		}
		<-s.pumped
	}
	s.closeStdin()
	s.log.close()
}
