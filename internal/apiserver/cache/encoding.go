package cache

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"clipper/internal/prefetch"

	"k8s.io/apimachinery/pkg/runtime"
)

// Encoder makes bytes of an object. Its identity is what encodings are kept
// by: there is one Encoder for each row and media type, made at start.
type Encoder struct {
	// Encode must not keep or change the object.
	Encode func(runtime.Object) ([]byte, error)
	// Kept bounds what the encodings that are kept take together; nil is no bound.
	Kept *Encodings
}

// encoding is one of an entry's. It does not refer to the entry, so that what
// is only in Encodings can go.
type encoding struct {
	by   *Encoder
	next *encoding // made before this one
	// The bytes, nil while they are not kept, and how many: an object's are
	// as many whenever they are made. A slice would be one more piece of memory
	// to wait for.
	bytes atomic.Pointer[byte]
	size  atomic.Uint32
	turn  atomic.Uint32 // the last in which the bytes were read; 0: in none
}

func (n *encoding) get(e *Entry, purpose purpose) ([]byte, error) {
	var b []byte
	p := n.bytes.Load()
	if p != nil {
		b = unsafe.Slice(p, n.size.Load())
	} else {
		var err error
		if b, err = n.by.Encode(e.Object); err != nil {
			return nil, err
		}
		if !n.size.CompareAndSwap(0, uint32(len(b))) && n.size.Load() != uint32(len(b)) || len(b) == 0 {
			return b, nil // its maker is not as it should be: nothing is kept
		}
		n.bytes.Store(unsafe.SliceData(b))
	}
	if purpose == reading {
		n.by.Kept.read(n, len(b))
	} else if p == nil {
		n.by.Kept.told(e, n, len(b))
	}
	return b, nil
}

// All returns the bytes of many entries, as Bytes does of one.
func All(entries []*Entry, by *Encoder) ([][]byte, error) {
	const ahead = 8
	all := make([][]byte, len(entries))
	for i, e := range entries {
		// An entry, then its encoding, lie anywhere in memory.
		if i+2*ahead < len(entries) {
			prefetch.Value(entries[i+2*ahead])
			prefetch.Value(entries[i+ahead].encodings.Load())
		}
		b, err := e.Bytes(by)
		if err != nil {
			return nil, err
		}
		all[i] = b
	}
	return all, nil
}

// purpose is what bytes are asked for.
type purpose uint8

const (
	reading purpose = iota
	telling
)

// Encodings bounds what kept encodings take: those that were not used for long
// are dropped, and made anew if they are asked for again. The zero value is
// ready for use.
//
// What is read is counted in turns. A turn ends when encodings of turnBytes
// were read in it; what was read in the turn before, and not in this one, is
// dropped then. So up to twice as much is kept. What was only told, to who
// wrote or watches, is dropped once newsBytes were told after it: most objects
// are never read in the form in which they were written.
type Encodings struct {
	turn atomic.Uint32 // one less than the number of the turn

	mu         sync.Mutex
	young, old []*encoding // read in this turn, and in the one before
	bytes      int         // of young
	news       []news      // a queue, which begins at first
	first      int
	newsBytes  int
}

type news struct {
	entry *Entry
	*encoding
	size int
}

const (
	turnBytes = 8 << 20
	newsBytes = maxBytes // as long as watchers can be told
)

func (k *Encodings) read(n *encoding, size int) {
	if k == nil {
		return
	}
	turn := k.turn.Load() + 1
	if n.turn.Load() == turn || n.turn.Swap(turn) == turn {
		return
	}
	k.mu.Lock()
	k.young = append(k.young, n)
	if k.bytes += size; k.bytes > turnBytes {
		k.endTurn()
	}
	k.mu.Unlock()
}

func (k *Encodings) endTurn() {
	turn := k.turn.Add(1) // the one that ends
	for _, n := range k.old {
		if t := n.turn.Load(); t < turn && n.turn.CompareAndSwap(t, 0) {
			n.bytes.Store(nil)
		}
	}
	clear(k.old)
	k.old, k.young, k.bytes = k.young, k.old[:0], 0
}

func (k *Encodings) told(e *Entry, n *encoding, size int) {
	if k == nil {
		return
	}
	k.mu.Lock()
	k.news = append(k.news, news{e, n, size})
	k.newsBytes += size
	k.forget(newsBytes)
	k.mu.Unlock()
}

// forget drops the oldest news, down to so many bytes.
func (k *Encodings) forget(most int) {
	for k.newsBytes > most {
		n := &k.news[k.first]
		if n.turn.Load() == 0 {
			n.bytes.Store(nil)
			n.entry.forget(n.encoding)
		}
		k.newsBytes -= n.size
		*n = news{}
		k.first++
	}
	if k.first > len(k.news)/2 { // the room of what is gone
		n := copy(k.news, k.news[k.first:])
		clear(k.news[n:])
		k.news, k.first = k.news[:n], 0
	}
}

// Drop drops all.
func (k *Encodings) Drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endTurn()
	k.endTurn()
	k.forget(0)
	k.old, k.young, k.news = nil, nil, nil
}
