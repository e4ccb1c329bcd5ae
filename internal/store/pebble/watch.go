package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"clipper/internal/store"
)

const (
	// catchUp is how many revisions a watch that starts in the past reads at
	// a time, and how few may be left to read them while writes wait.
	catchUp     = 1000
	catchUpLast = 100
	// catchUpTurns bounds how often it tries to get close to the writers.
	catchUpTurns = 64
)

// watch is one that has caught up: it is fed by the finisher.
type watch struct {
	prefix string
	sink   func([]store.Event)
	failed chan error
}

type watches struct {
	mu   sync.Mutex
	list []*watch
}

// dispatch shows events to the watches, after visible made them readable.
func (ws *watches) dispatch(events []store.Event, visible func()) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	visible()
	for _, w := range ws.list {
		if own := matching(events, w.prefix); len(own) > 0 {
			w.sink(own)
		}
	}
}

// matching returns the events under prefix; all of them are not copied.
func matching(events []store.Event, prefix string) []store.Event {
	n := 0
	for i := range events {
		if strings.HasPrefix(events[i].Key, prefix) {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case len(events):
		return events[:n:n]
	}
	own := make([]store.Event, 0, n)
	for i := range events {
		if strings.HasPrefix(events[i].Key, prefix) {
			own = append(own, events[i])
		}
	}
	return own
}

func (ws *watches) fail(err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.list {
		w.failed <- err
	}
	ws.list = nil
}

func (ws *watches) remove(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if i := slices.Index(ws.list, w); i >= 0 {
		ws.list = slices.Delete(ws.list, i, i+1)
	}
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, after int64, started func(), sink func([]store.Event)) error {
	if err := s.checkWatch(after); err != nil {
		return err
	}
	w := &watch{prefix: prefix, sink: sink, failed: make(chan error, 1)}
	if err := s.joinWatches(ctx, w, after); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if started != nil {
		started()
	}
	select {
	case <-ctx.Done():
		s.watches.remove(w)
		return nil
	case err := <-w.failed:
		return err
	}
}

func (s *Store) checkWatch(after int64) error {
	done, err := s.use()
	if err != nil {
		return err
	}
	defer done()
	return s.readable(after)
}

// joinWatches reads what the watch has missed and hands it over to the
// finisher.
func (s *Store) joinWatches(ctx context.Context, w *watch, after int64) (err error) {
	for turn := 0; ; turn++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.visible.Load()-after <= catchUpLast || turn == catchUpTurns {
			return s.joinNow(w, after)
		}
		if after, err = s.replay(w, after, s.visible.Load()); err != nil {
			return err
		}
	}
}

// joinNow holds up the finisher while it reads the rest.
func (s *Store) joinNow(w *watch, after int64) (err error) {
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	for end := s.visible.Load(); after < end; {
		if after, err = s.replay(w, after, end); err != nil {
			return err
		}
	}
	if s.ending.Err() != nil {
		return store.ErrClosed
	}
	s.watches.list = append(s.watches.list, w)
	return nil
}

// replay shows the watch the events of at most catchUp revisions after one and
// up to another, and returns the last that it read.
func (s *Store) replay(w *watch, after, end int64) (int64, error) {
	done, err := s.use()
	if err != nil {
		return after, err
	}
	defer done()
	log, err := s.db.NewIter(&pebble.IterOptions{LowerBound: appendLogKey(nil, after+1), UpperBound: appendLogKey(nil, end+1)})
	if err != nil {
		return after, err
	}
	states, err := log.Clone(pebble.CloneOptions{IterOptions: &pebble.IterOptions{LowerBound: []byte{versionSpace}, UpperBound: []byte{versionSpace + 1}}})
	if err != nil {
		return after, errors.Join(err, log.Close())
	}
	var events []store.Event
	if err = s.readable(after); err == nil {
		events, after, err = readEvents(log, states, w.prefix, end)
	}
	if err = errors.Join(err, log.Error(), log.Close(), states.Close()); err != nil {
		return after, err
	}
	if len(events) > 0 {
		w.sink(events)
	}
	return after, nil
}

func readEvents(log, states *pebble.Iterator, prefix string, end int64) ([]store.Event, int64, error) {
	var events []store.Event
	n := 0
	for ok := log.First(); ok; ok = log.Next() {
		k := log.Key()
		if len(k) != 9 {
			return nil, 0, errDamaged
		}
		revision := int64(binary.BigEndian.Uint64(k[1:]))
		if n++; n > catchUp {
			return events, revision - 1, nil
		}
		b, err := log.ValueAndErr()
		if err != nil {
			return nil, 0, err
		}
		e, err := parseEntry(b)
		if err != nil {
			return nil, 0, fmt.Errorf("log at revision %d: %w", revision, err)
		}
		if !strings.HasPrefix(e.key, prefix) {
			continue
		}
		item, err := itemAt(states, e.key, revision)
		if err != nil {
			return nil, 0, err
		}
		events = append(events, store.Event{Item: item, Deleted: e.deleted})
	}
	return events, end, nil
}

func itemAt(states *pebble.Iterator, key string, revision int64) (store.Item, error) {
	if !states.SeekGE(appendVersionKey(nil, key, revision)) {
		return store.Item{}, errors.Join(fmt.Errorf("%s at revision %d: %w", key, revision, errDamaged), states.Error())
	}
	st, value, err := stateAt(states)
	if err == nil && st.revision != revision {
		err = errDamaged
	}
	if err != nil {
		return store.Item{}, fmt.Errorf("%s at revision %d: %w", key, revision, err)
	}
	return store.Item{Key: key, Value: bytes.Clone(value), CreateRevision: st.create, Revision: revision}, nil
}
