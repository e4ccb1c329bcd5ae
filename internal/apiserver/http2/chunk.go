package http2

import (
	"encoding/binary"
	"sync"

	"golang.org/x/net/http2"
)

const (
	// record is how much one TLS record holds (RFC 8446, 5.1). A full frame with
	// its header fills one; no client takes less (RFC 9113, 4.2).
	record      = 16 << 10
	frameHeader = 9
	mostData    = record - frameHeader
	// piece is how much of an answer leaves at once, so that other streams of
	// the connection have their turn.
	piece = 16 * record
	// little is how much of an answer is copied to what else leaves, rather
	// than handed over.
	little = 4 << 10
)

// chunk gathers the body of an answer as the DATA frames in which it leaves:
// each frame's bytes stand behind the place of its header, so that much is
// copied once only.
type chunk struct {
	buf  []byte // capacity is little or piece
	sent int    // where what was not sent begins
}

// The pools hold arrays, since a slice would be allocated to be put there.
var (
	littles = sync.Pool{New: func() any { return new([little]byte) }}
	pieces  = sync.Pool{New: func() any { return new([piece]byte) }}
)

func newLittle() []byte { return littles.Get().(*[little]byte)[:0] }
func newPiece() []byte  { return pieces.Get().(*[piece]byte)[:0] }

// recycle keeps a buffer for the next that needs one like it.
func recycle(b []byte) {
	switch cap(b) {
	case little:
		littles.Put((*[little]byte)(b[:little]))
	case piece:
		pieces.Put((*[piece]byte)(b[:piece]))
	}
}

// add appends as much of p as there is room for, and returns how much that was.
func add[T []byte | string](k *chunk, p T) int {
	if k.buf == nil {
		k.buf = newLittle()
	}
	if cap(k.buf) == little && len(k.buf)+frameHeader+len(p) > little {
		b := append(newPiece(), k.buf...)
		recycle(k.buf)
		k.buf = b
	}
	added := 0
	for added < len(p) && len(k.buf) < cap(k.buf) {
		at := len(k.buf) % record
		if at == 0 {
			k.buf, at = append(k.buf, make([]byte, frameHeader)...), frameHeader
		}
		n := min(len(p)-added, record-at, cap(k.buf)-len(k.buf))
		k.buf = append(k.buf, p[added:added+n]...)
		added += n
	}
	return added
}

// size is how many bytes of the body are left to be sent.
func (k *chunk) size() int {
	whole := func(n int) int { return n - frameHeader*((n+record-1)/record) }
	return whole(len(k.buf)) - whole(k.sent)
}

// next takes bytes of one frame, at most n.
func (k *chunk) next(n int) []byte {
	if k.sent%record == 0 {
		k.sent += frameHeader
	}
	end := min(k.sent+n, (k.sent/record+1)*record, len(k.buf))
	p := k.buf[k.sent:end]
	k.sent = end
	return p
}

// frames takes everything, as frames of the stream.
func (k *chunk) frames(id uint32, end bool) []byte {
	b := k.buf
	for at := 0; at < len(b); at += record {
		n := min(record, len(b)-at)
		flags := http2.Flags(0)
		if end && at+n == len(b) {
			flags = http2.FlagDataEndStream
		}
		putHeader(b[at:at:at+frameHeader], n-frameHeader, http2.FrameData, flags, id)
	}
	*k = chunk{}
	return b
}

// putHeader appends a frame's header (RFC 9113, 4.1).
func putHeader(b []byte, n int, t http2.FrameType, flags http2.Flags, id uint32) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(flags))
	return binary.BigEndian.AppendUint32(b, id)
}

// free gives the buffer up.
func (k *chunk) free() {
	if k.buf != nil {
		recycle(k.buf)
	}
	*k = chunk{}
}
