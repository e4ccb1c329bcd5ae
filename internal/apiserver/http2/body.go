package http2

// body holds what came of a request's and was not read.
type body struct {
	buf  []byte
	read int // how much of buf was read
}

// keptBody is how large a buffer may be to be kept when all of it was read: it
// is not counted in any window.
const keptBody = 32 << 10

func (b *body) size() int { return len(b.buf) - b.read }

// put adds what came.
func (b *body) put(p []byte) {
	// Moving less than half of it would cost more than it gives.
	if len(b.buf)+len(p) > cap(b.buf) && b.read > len(b.buf)/2 {
		b.buf = b.buf[:copy(b.buf, b.buf[b.read:])]
		b.read = 0
	}
	b.buf = append(b.buf, p...)
}

// take reads into p, and returns how much.
func (b *body) take(p []byte) int {
	n := copy(p, b.buf[b.read:])
	if b.read += n; b.read == len(b.buf) {
		b.buf, b.read = b.buf[:0], 0
		if cap(b.buf) > keptBody {
			b.buf = nil
		}
	}
	return n
}

// drop forgets everything, and returns how much that was.
func (b *body) drop() int {
	n := b.size()
	*b = body{}
	return n
}
