package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"clipper/internal/store"
)

// The database has four key spaces, told apart by the first byte:
//
//	e deadline(8) revision(8)     -> key       what expires when
//	k key 0x00 ^revision(8)       -> version   every state of a key, newest first
//	l revision(8)                 -> entry     the log: which key a revision wrote
//	m name                        -> ...       what the store knows of itself
//
// Numbers are big endian, so that bytes sort as numbers do. A key of e, k or l
// is set once and never again, because its revision is never reused; that is
// what allows SingleDelete, whose tombstone vanishes when it meets its key.
const (
	expirySpace  = 'e'
	versionSpace = 'k'
	logSpace     = 'l'
	metaSpace    = 'm'
)

const (
	maxKey     = 4 << 10
	maxValue   = 8 << 20
	versionEnd = 1 + 8 // the zero byte and the revision behind a key
)

// comparer orders bytes as they are, and tells the states of one key by their
// common prefix, so that a filter finds the tables that can hold a key. Its
// name is part of the format.
func comparer() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "clipper.versions"
	c.Split = func(k []byte) int {
		if end := len(k) - versionEnd; end >= 1 && k[0] == versionSpace && k[end] == 0 {
			return end + 1
		}
		return len(k)
	}
	// A shortened key would not tell its parts apart.
	c.Separator = func(dst, a, _ []byte) []byte { return append(dst, a...) }
	c.Successor = func(dst, a []byte) []byte { return append(dst, a...) }
	return &c
}

const (
	flagDeleted = 1 << iota
	flagExpires
)

var errDamaged = errors.New("damaged record")

func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("key is empty")
	case len(key) > maxKey:
		return fmt.Errorf("key has %d bytes, more than %d", len(key), maxKey)
	case strings.IndexByte(key, 0) >= 0:
		return errors.New("key holds a zero byte")
	}
	return nil
}

func appendVersionKey(b []byte, key string, revision int64) []byte {
	b = append(b, versionSpace)
	b = append(b, key...)
	b = append(b, 0)
	return binary.BigEndian.AppendUint64(b, ^uint64(revision))
}

// splitVersionKey is the inverse of appendVersionKey.
func splitVersionKey(b []byte) (key []byte, revision int64, ok bool) {
	end := len(b) - versionEnd
	if end < 1 || b[0] != versionSpace || b[end] != 0 {
		return nil, 0, false
	}
	return b[1:end], int64(^binary.BigEndian.Uint64(b[end+1:])), true
}

func appendLogKey(b []byte, revision int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, logSpace), uint64(revision))
}

func appendExpiryKey(b []byte, deadline, revision int64) []byte {
	b = binary.BigEndian.AppendUint64(append(b, expirySpace), uint64(deadline))
	return binary.BigEndian.AppendUint64(b, uint64(revision))
}

func splitExpiryKey(b []byte) (deadline, revision int64, ok bool) {
	if len(b) != 17 {
		return 0, 0, false
	}
	return int64(binary.BigEndian.Uint64(b[1:])), int64(binary.BigEndian.Uint64(b[9:])), true
}

// version is the header of one state of a key; the value follows it.
type version struct {
	deleted bool
	create  int64
	expires int64 // unix milliseconds, 0 is never
}

const maxVersionHeader = 1 + 2*binary.MaxVarintLen64

func (v version) appendTo(b []byte) []byte {
	var flags byte
	if v.deleted {
		flags |= flagDeleted
	}
	if v.expires != 0 {
		flags |= flagExpires
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(v.create))
	if v.expires != 0 {
		b = binary.AppendUvarint(b, uint64(v.expires))
	}
	return b
}

func parseVersion(b []byte) (v version, value []byte, err error) {
	if len(b) < 2 {
		return v, nil, errDamaged
	}
	flags := b[0]
	v.deleted = flags&flagDeleted != 0
	create, n := binary.Uvarint(b[1:])
	if n <= 0 || create > math.MaxInt64 {
		return v, nil, errDamaged
	}
	v.create = int64(create)
	b = b[1+n:]
	if flags&flagExpires != 0 {
		expires, n := binary.Uvarint(b)
		if n <= 0 || expires > math.MaxInt64 {
			return v, nil, errDamaged
		}
		v.expires = int64(expires)
		b = b[n:]
	}
	return v, b, nil
}

// entry is one record of the log. Previous is the revision of the state that
// was overwritten or deleted, 0 for a creation.
type entry struct {
	deleted  bool
	previous int64
	key      string
}

func (e entry) appendTo(b []byte) []byte {
	var flags byte
	if e.deleted {
		flags |= flagDeleted
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(e.previous))
	return append(b, e.key...)
}

func parseEntry(b []byte) (e entry, err error) {
	if len(b) < 3 {
		return e, errDamaged
	}
	previous, n := binary.Uvarint(b[1:])
	if n <= 0 || previous > math.MaxInt64 || 1+n >= len(b) {
		return e, errDamaged
	}
	return entry{deleted: b[0]&flagDeleted != 0, previous: int64(previous), key: string(b[1+n:])}, nil
}

// prefixEnd returns the first key behind all keys that start with b, of which
// the first byte is one of the spaces' and so never overflows.
func prefixEnd(b []byte) []byte {
	end := append([]byte(nil), b...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

func checkWrite(w *store.Write) error {
	if err := checkKey(w.Key); err != nil {
		return err
	}
	if len(w.Value) > maxValue {
		return fmt.Errorf("value of %s has %d bytes, more than %d", w.Key, len(w.Value), maxValue)
	}
	return nil
}
