// Package encrypt is a store whose values under some prefixes are encrypted at
// rest.
//
// The form is upstream's `aesgcm` provider's (kubernetes.io, "Encrypting
// Confidential Data at Rest"): `k8s:enc:aesgcm:v1:KEY:`, a nonce, and the value
// sealed by AES-256-GCM with the store's key as additional data, so that a value
// moved to another key is refused. Values without that beginning were written
// before encryption and are read as they are; their next write encrypts them.
package encrypt

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"clipper/internal/measure"
	"clipper/internal/store"

	"k8s.io/utils/clock"
)

// KeySize is how long a key is, in bytes.
const KeySize = 32

const keyName = "key1"

// form is how values say how they are encrypted.
const form = "k8s:enc:aesgcm:v1:"

var begin = []byte(form + keyName + ":") // never changed

// Store implements store.Store over another.
type Store struct {
	store.Store
	aead     cipher.AEAD
	prefixes []string
	clock    clock.PassiveClock
	counts   measure.Set[transformation, measure.Histogram]
}

// New returns a store that encrypts values of keys with one of the prefixes and
// leaves all else to inner, which it closes when it is closed.
func New(inner store.Store, key []byte, c clock.PassiveClock, prefixes ...string) (*Store, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("encryption key: %d bytes, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Store{Store: inner, aead: aead, prefixes: prefixes, clock: c}, nil
}

func (s *Store) covers(key string) bool { return s.prefix(key) >= 0 }

// prefix returns which of the prefixes a key has, or -1.
func (s *Store) prefix(key string) int {
	return slices.IndexFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// touches tells whether keys under prefix may be encrypted.
func (s *Store) touches(prefix string) bool {
	for _, p := range s.prefixes {
		if strings.HasPrefix(p, prefix) || strings.HasPrefix(prefix, p) {
			return true
		}
	}
	return false
}

func (s *Store) seal(key string, value []byte) []byte {
	began := s.clock.Now()
	defer s.count(key, toStorage, began, nil)
	out := make([]byte, len(begin)+s.aead.NonceSize(), len(begin)+s.aead.NonceSize()+len(value)+s.aead.Overhead())
	copy(out, begin)
	nonce := out[len(begin):]
	rand.Read(nonce) // never fails
	return s.aead.Seal(out, nonce, value, []byte(key))
}

// open decrypts an item in place; the item is the caller's own copy.
func (s *Store) open(it *store.Item) error {
	if !s.covers(it.Key) || !bytes.HasPrefix(it.Value, begin) {
		return nil
	}
	began := s.clock.Now()
	err := s.unseal(it)
	s.count(it.Key, fromStorage, began, err)
	return err
}

func (s *Store) unseal(it *store.Item) error {
	sealed := it.Value[len(begin):]
	if len(sealed) < s.aead.NonceSize() {
		return fmt.Errorf("%s: its encrypted value is cut short", it.Key)
	}
	nonce, sealed := sealed[:s.aead.NonceSize()], sealed[s.aead.NonceSize():]
	value, err := s.aead.Open(nil, nonce, sealed, []byte(it.Key))
	if err != nil {
		return fmt.Errorf("%s was encrypted with another key, or is damaged: bring back the encryption key that belongs to this store", it.Key)
	}
	// An empty value is a value, and nil is none.
	it.Value = append([]byte{}, value...)
	return nil
}

// Apply implements store.Store.
func (s *Store) Apply(ctx context.Context, w store.Write) (int64, error) {
	if w.Value != nil && s.covers(w.Key) {
		w.Value = s.seal(w.Key, w.Value)
	}
	return s.Store.Apply(ctx, w)
}

// Get implements store.Store. It fails if the value cannot be decrypted.
func (s *Store) Get(ctx context.Context, key string) (store.Item, error) {
	it, err := s.Store.Get(ctx, key)
	if err != nil {
		return it, err
	}
	return it, s.open(&it)
}

// List implements store.Store. It fails if a value cannot be decrypted.
func (s *Store) List(ctx context.Context, r store.Range) (store.Page, error) {
	p, err := s.Store.List(ctx, r)
	if err != nil || !s.touches(r.Prefix) {
		return p, err
	}
	for i := range p.Items {
		if err := s.open(&p.Items[i]); err != nil {
			return store.Page{}, err
		}
	}
	return p, nil
}

// Watch implements store.Store. It ends with an error at a value that cannot
// be decrypted.
func (s *Store) Watch(ctx context.Context, prefix string, after int64, started func(), sink func([]store.Event)) error {
	if !s.touches(prefix) {
		return s.Store.Watch(ctx, prefix, after, started, sink)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := s.Store.Watch(ctx, prefix, after, started, func(events []store.Event) {
		if context.Cause(ctx) != nil {
			return // nothing is told after what could not be read
		}
		opened, err := s.openAll(events)
		if err != nil {
			cancel(err)
			return
		}
		sink(opened)
	})
	if err == nil {
		if cause := context.Cause(ctx); cause != context.Canceled && cause != context.DeadlineExceeded {
			return cause
		}
	}
	return err
}

// openAll returns the events decrypted. The batch is shared with other watches,
// so it is copied before it is changed.
func (s *Store) openAll(events []store.Event) ([]store.Event, error) {
	first := -1
	for i := range events {
		if s.covers(events[i].Key) {
			first = i
			break
		}
	}
	if first < 0 {
		return events, nil
	}
	opened := append([]store.Event(nil), events...)
	for i := first; i < len(opened); i++ {
		e := &opened[i]
		if !s.covers(e.Key) {
			continue
		}
		if err := s.open(&e.Item); err != nil {
			return nil, err
		}
	}
	return opened, nil
}
