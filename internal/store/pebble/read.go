package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"clipper/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(_ context.Context, key string) (store.Item, error) {
	if err := checkKey(key); err != nil {
		return store.Item{}, err
	}
	done, err := s.use()
	if err != nil {
		return store.Item{}, err
	}
	defer done()
	at := appendVersionKey(nil, key, s.visible.Load())
	it, err := s.db.NewIter(nil)
	if err != nil {
		return store.Item{}, err
	}
	var st state
	var value []byte
	if it.SeekPrefixGE(at) {
		st, value, err = stateAt(it)
		value = bytes.Clone(value)
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return store.Item{}, fmt.Errorf("reading %s: %w", key, err)
	}
	if !st.exists() {
		return store.Item{}, store.ErrNotFound
	}
	return store.Item{Key: key, Value: value, CreateRevision: st.create, Revision: st.revision}, nil
}

// readable tells whether the past at a revision can still be read, and whether
// it was reached at all.
func (s *Store) readable(revision int64) error {
	switch {
	case revision > s.visible.Load():
		return store.ErrFuture
	case revision < s.compacted.Load() || s.lost(revision):
		return store.ErrCompacted
	}
	return nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, r store.Range) (store.Page, error) {
	done, err := s.use()
	if err != nil {
		return store.Page{}, err
	}
	defer done()
	page := store.Page{Revision: r.Revision}
	if r.Revision == 0 {
		page.Revision = s.visible.Load()
	}
	lower := append([]byte{versionSpace}, r.Prefix...)
	upper := prefixEnd(lower)
	if strings.IndexByte(r.Prefix, 0) >= 0 {
		return page, s.readable(page.Revision)
	}
	if r.After != "" {
		if after := append([]byte{versionSpace}, r.After+"\x01"...); bytes.Compare(after, lower) > 0 {
			lower = after
		}
	}
	if bytes.Compare(lower, upper) >= 0 {
		return page, s.readable(page.Revision)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return store.Page{}, err
	}
	// Only now: compaction raises its mark before it deletes, so what the
	// iterator sees is whole if the mark is not passed yet.
	if err = s.readable(page.Revision); err == nil {
		err = fill(ctx, &page, it, r.Limit)
	}
	if err := errors.Join(err, it.Error(), it.Close()); err != nil {
		return store.Page{}, err
	}
	return page, nil
}

// fill adds the keys' states at the page's revision, and counts those beyond
// the limit.
func fill(ctx context.Context, page *store.Page, it *pebble.Iterator, limit int) error {
	var key []byte
	seen := 0
	for ok := it.First(); ok; {
		k, revision, valid := splitVersionKey(it.Key())
		if !valid {
			return errDamaged
		}
		if revision > page.Revision {
			ok = it.Next()
			continue
		}
		if seen++; seen%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		v, value, err := parseVersion(b)
		switch {
		case err != nil:
			return fmt.Errorf("reading %s: %w", k, err)
		case v.deleted:
		case limit > 0 && len(page.Items) == limit:
			page.More = true
			page.Remaining++
		default:
			page.Items = append(page.Items, store.Item{
				Key:            string(k),
				Value:          append(make([]byte, 0, len(value)), value...),
				CreateRevision: v.create,
				Revision:       revision,
			})
		}
		key = append(key[:0], k...)
		ok = nextKey(it, key)
	}
	return nil
}

// nextKey moves behind all states of the key. Most keys have few, and steps
// are cheaper than a seek.
func nextKey(it *pebble.Iterator, key []byte) bool {
	for range 8 {
		if !it.Next() {
			return false
		}
		k, _, ok := splitVersionKey(it.Key())
		if !ok || !bytes.Equal(k, key) {
			return true
		}
	}
	return it.SeekGE(append(append([]byte{versionSpace}, key...), 1))
}
