package http2

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"

	"clipper/internal/apiserver/wire"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"k8s.io/utils/clock"
)

const (
	// mostOut is how much may be composed before whoever composes more waits.
	mostOut = 2 * piece
	// mostControl is how much of what a client makes the server say by itself
	// may wait for it to be read. From half of it, the client is not read.
	mostControl = 64 << 10
	// turns is how often whoever found nobody writing writes what others have
	// composed meanwhile, before a goroutine of its own goes on with it.
	turns = 4
	// tableMost bounds the memory of headers that a client may ask for.
	tableMost = 4096
)

// writer composes a connection's frames and writes them. Whoever composes while
// nobody writes, writes; what is composed meanwhile goes with the next write.
type writer struct {
	net   net.Conn
	wire  *wire.Conn // beneath, or nil
	clock clock.PassiveClock
	// since is when the write that is under way began, by the clock; 0: none is.
	since atomic.Int64

	mu      sync.Mutex
	room    sync.Cond
	queue   [][]byte // composed; the last is appended to
	size    int      // of all of it
	control int      // bytes of it that nobody waits for
	busy    bool     // somebody writes
	err     error
	spare   [][]byte // the next queue

	block bytes.Buffer // a compressed header block
	enc   *hpack.Encoder

	names    map[string]string // of headers, in lower case; "": they are not sent
	second   int64             // that dateText tells
	dateText string
}

func (w *writer) init(n net.Conn, below *wire.Conn, c clock.PassiveClock) {
	w.net, w.wire, w.clock = n, below, c
	w.room.L = &w.mu
	w.names = map[string]string{}
	w.enc = hpack.NewEncoder(&w.block)
	w.enc.SetMaxDynamicTableSizeLimit(tableMost)
}

// begin takes the lock to compose, once there is room. Either commit or cancel
// gives it back.
func (w *writer) begin() error {
	w.mu.Lock()
	for w.size >= mostOut && w.err == nil {
		w.room.Wait()
	}
	if w.err != nil {
		w.mu.Unlock()
		return w.err
	}
	return nil
}

// commit lets what was composed leave, and gives the lock back.
func (w *writer) commit() error {
	if w.busy {
		w.mu.Unlock() // whoever writes takes it along
		return nil
	}
	w.busy = true
	return w.write(turns)
}

func (w *writer) cancel() { w.mu.Unlock() }

// write writes until nothing is left, or a goroutine goes on after some turns;
// mu is held, and given back.
func (w *writer) write(turns int) error {
	for ; w.size > 0 && w.err == nil; turns-- {
		if turns == 0 {
			w.mu.Unlock()
			go func() {
				w.mu.Lock()
				_ = w.write(-1) // who composes next is told
			}()
			return nil
		}
		q, n := w.queue, w.size
		w.queue, w.spare, w.size, w.control = w.spare, nil, 0, 0
		w.mu.Unlock()
		err := w.send(q, n)
		for i := range q {
			recycle(q[i])
			q[i] = nil
		}
		w.mu.Lock()
		w.spare = q[:0]
		if err != nil && w.err == nil {
			w.err = err
		}
		w.room.Broadcast()
	}
	w.busy = false
	err := w.err
	w.room.Broadcast()
	w.mu.Unlock()
	return err
}

// send writes n bytes in as few system calls as may be.
func (w *writer) send(q [][]byte, n int) (err error) {
	defer w.since.Store(0)
	if hold := w.wire != nil && (len(q) > 1 || n > record); hold {
		w.wire.Hold()
		defer func() {
			if e := w.wire.Release(); err == nil {
				err = e
			}
		}()
	}
	for _, b := range q {
		w.since.Store(w.clock.Now().UnixNano())
		if _, err = w.net.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// listen returns once the client has read enough of what it made the server say
// by itself, for more to be heard; one that never does has WriteWithin.
func (w *writer) listen() {
	w.mu.Lock()
	for w.control > mostControl/2 && w.err == nil {
		w.room.Wait()
	}
	w.mu.Unlock()
}

// drain returns once all that was composed is written, or cannot be.
func (w *writer) drain() {
	w.mu.Lock()
	for w.busy && w.err == nil {
		w.room.Wait()
	}
	w.mu.Unlock()
}

// close lets nobody compose any more.
func (w *writer) close(why error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = why
	}
	w.room.Broadcast()
	w.mu.Unlock()
}

// frame begins a frame of n bytes and returns what they are to be appended to;
// it must be given to framed.
func (w *writer) frame(n int, t http2.FrameType, flags http2.Flags, id uint32) []byte {
	last := len(w.queue) - 1
	if last < 0 || len(w.queue[last])+frameHeader+n > cap(w.queue[last]) {
		b := newLittle
		if frameHeader+n > little {
			b = newPiece
		}
		w.queue = append(w.queue, b())
		last++
	}
	w.size += frameHeader + n
	return putHeader(w.queue[last], n, t, flags, id)
}

func (w *writer) framed(b []byte) { w.queue[len(w.queue)-1] = b }

// hand lets a buffer of frames leave as it is.
func (w *writer) hand(b []byte) {
	w.queue = append(w.queue, b)
	w.size += len(b)
}

// data appends a DATA frame.
func (w *writer) data(id uint32, p []byte, end bool) {
	flags := http2.Flags(0)
	if end {
		flags = http2.FlagDataEndStream
	}
	w.framed(append(w.frame(len(p), http2.FrameData, flags, id), p...))
}

// headerBlock appends what was compressed as HEADERS and CONTINUATION frames.
func (w *writer) headerBlock(id uint32, end bool) {
	flags := http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	t := http2.FrameHeaders
	for b := w.block.Bytes(); ; {
		n := min(len(b), mostData)
		if n == len(b) {
			flags |= http2.FlagHeadersEndHeaders
		}
		w.framed(append(w.frame(n, t, flags, id), b[:n]...))
		if b = b[n:]; len(b) == 0 {
			break
		}
		t, flags = http2.FrameContinuation, 0
	}
	w.block.Reset()
}

func (w *writer) field(name, value string) {
	_ = w.enc.WriteField(hpack.HeaderField{Name: name, Value: value}) // to memory
}

// The frames that a server sends by itself. They wait for nobody: a goroutine
// writes them if nobody does. Errors: http2.ConnectionError, if the client
// makes the server say more than it reads; nothing can be said from then on.

func (w *writer) say(n int, compose func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.control += n; w.control > mostControl {
		w.err = http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		w.room.Broadcast()
		return w.err
	}
	compose()
	if !w.busy {
		w.busy = true
		go func() {
			w.mu.Lock()
			_ = w.write(-1)
		}()
	}
	return nil
}

func (w *writer) uint32s(t http2.FrameType, flags http2.Flags, id uint32, all ...uint32) error {
	return w.say(frameHeader+4*len(all), func() {
		b := w.frame(4*len(all), t, flags, id)
		for _, v := range all {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		w.framed(b)
	})
}

func (w *writer) settings(all ...http2.Setting) error {
	return w.say(frameHeader+6*len(all), func() {
		b := w.frame(6*len(all), http2.FrameSettings, 0, 0)
		for _, s := range all {
			b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
			b = binary.BigEndian.AppendUint32(b, s.Val)
		}
		w.framed(b)
	})
}

func (w *writer) settingsAck() error {
	return w.uint32s(http2.FrameSettings, http2.FlagSettingsAck, 0)
}

func (w *writer) ping() error {
	return w.uint32s(http2.FramePing, 0, 0, 0, 0)
}

func (w *writer) pong(data [8]byte) error {
	return w.uint32s(http2.FramePing, http2.FlagPingAck, 0, binary.BigEndian.Uint32(data[:4]), binary.BigEndian.Uint32(data[4:]))
}

func (w *writer) windowUpdate(id, by uint32) error {
	return w.uint32s(http2.FrameWindowUpdate, 0, id, by)
}

func (w *writer) rst(id uint32, code http2.ErrCode) error {
	return w.uint32s(http2.FrameRSTStream, 0, id, uint32(code))
}

func (w *writer) goAway(last uint32, code http2.ErrCode) error {
	return w.uint32s(http2.FrameGoAway, 0, 0, last, uint32(code))
}

// tableSize takes over the client's setting, before its acknowledgement is
// composed.
func (w *writer) tableSize(n uint32) {
	w.mu.Lock()
	w.enc.SetMaxDynamicTableSize(n)
	w.mu.Unlock()
}
