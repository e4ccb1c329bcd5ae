package cache

import (
	"sync"
	"sync/atomic"

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
	by    *Encoder
	next  *encoding // made before this one
	bytes atomic.Pointer[[]byte]
	turn  atomic.Uint32 // the last in which the bytes were used
}

func (n *encoding) get(obj runtime.Object) ([]byte, error) {
	if b := n.bytes.Load(); b != nil {
		n.by.Kept.use(n, len(*b))
		return *b, nil
	}
	b, err := n.by.Encode(obj)
	if err != nil {
		return nil, err
	}
	n.bytes.Store(&b)
	n.by.Kept.use(n, len(b))
	return b, nil
}

// Encodings bounds what kept encodings take: those that were not used for long
// are dropped, and made anew if they are asked for again. The zero value is
// ready for use.
//
// It counts in turns. A turn ends when encodings of turnBytes were used in it;
// what was used in the turn before, and not in this one, is dropped then. So up
// to twice as much is kept.
type Encodings struct {
	turn atomic.Uint32 // one less than the number of the turn

	mu         sync.Mutex
	young, old []*encoding // used in this turn, and in the one before
	bytes      int         // of young
}

const turnBytes = 8 << 20

func (k *Encodings) use(n *encoding, size int) {
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
		if n.turn.Load() < turn {
			n.bytes.Store(nil)
		}
	}
	clear(k.old)
	k.old, k.young, k.bytes = k.young, k.old[:0], 0
}

// Drop drops all.
func (k *Encodings) Drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endTurn()
	k.endTurn()
	k.old, k.young = nil, nil
}
