package pebble

import (
	"math"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"k8s.io/utils/clock"

	"clipper/internal/store"
)

const (
	lazySync = time.Second
	// batchBytes is after which a batch is not made larger: one of half a
	// memtable would go around it.
	batchBytes = 512 << 10
)

// committer is what only the commit loop touches, apart from Open and Close,
// when it does not run.
type committer struct {
	revision int64 // the last one handed out
	bound    int64 // below it they are reserved; 0 before the first write

	lazy   clock.Timer // armed while something is not synced
	expiry clock.Timer // armed for the earliest deadline
	due    int64       // that deadline, 0 if none

	kept  time.Duration
	marks []mark // how far the history reached, and when

	keyBuf []byte
	recent recent
}

// state is the newest one of a key, without its value.
type state struct {
	version
	revision int64 // 0: there never was one
}

func (s state) exists() bool { return s.revision != 0 && !s.deleted }

// batch is what goes to the disk at once.
type batch struct {
	pb     *pebble.Batch
	sync   bool
	last   int64
	events []store.Event
	done   []*request // to be acknowledged, in order
}

func timerC(t clock.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C()
}

func (s *Store) commitLoop() {
	defer s.loops.Done()
	defer close(s.batches)
	c := &s.commits
	for {
		select {
		case <-s.queue.wake:
			s.commitAll(s.queue.take())
		case <-timerC(c.lazy):
			c.lazy = nil
			s.syncLazy()
		case <-timerC(c.expiry):
			c.expiry, c.due = nil, 0
			s.expire()
		case done := <-s.trims:
			c.recent = recent{}
			close(done)
		case <-s.stop:
			for _, r := range s.queue.take() {
				if r.state.CompareAndSwap(waiting, taken) {
					r.settle(0, store.ErrClosed)
				}
			}
			if c.lazy != nil {
				c.lazy.Stop()
			}
			if c.expiry != nil {
				c.expiry.Stop()
			}
			return
		}
	}
}

func (s *Store) commitAll(requests []*request) {
	for len(requests) > 0 {
		requests = requests[s.commit(requests):]
	}
}

// commit makes one batch of the first requests and returns how many it took.
func (s *Store) commit(requests []*request) (n int) {
	c := &s.commits
	b := &batch{done: make([]*request, 0, len(requests))}
	m := maker{s: s, b: b}
	defer m.close()
	for n < len(requests) && (b.pb == nil || b.pb.Len() < batchBytes) {
		r := requests[n]
		n++
		if !r.state.CompareAndSwap(waiting, taken) {
			continue
		}
		if m.err == nil {
			m.err = m.add(r)
			if m.err == nil {
				continue
			}
		}
		r.settle(0, m.err)
	}
	if m.err != nil {
		// A read failed half way: nothing of the batch is made.
		c.revision -= int64(len(b.events))
		c.recent = recent{}
		for _, r := range b.done {
			r.settle(0, m.err)
		}
		if b.pb != nil {
			_ = b.pb.Close()
		}
		return n
	}
	s.flush(b)
	return n
}

// flush sends the batch on its way. What only has conflicts follows the state
// it lost against.
func (s *Store) flush(b *batch) {
	c := &s.commits
	if len(b.done) == 0 {
		return
	}
	b.last = c.revision
	if b.pb != nil {
		reserved, err := s.reserve(b.pb)
		if err == nil {
			b.sync = (b.sync || reserved) && !s.memory
			if b.sync {
				err = s.db.ApplyNoSyncWait(b.pb, pebble.Sync)
			} else {
				err = s.db.Apply(b.pb, pebble.NoSync)
			}
		}
		if err != nil {
			logger{s.log}.Fatalf("commit: %v", err)
		}
		s.armLazy(b.sync)
		s.tidy()
	}
	if !b.sync && s.flying.Load() == 0 {
		s.finish(b)
		return
	}
	s.flying.Add(1)
	s.batches <- b
}

// armLazy sees to it that what was not synced is synced in a second.
func (s *Store) armLazy(synced bool) {
	c := &s.commits
	switch {
	case s.memory:
	case synced && c.lazy != nil:
		c.lazy.Stop()
		c.lazy = nil
	case !synced && c.lazy == nil:
		c.lazy = s.clock.NewTimer(lazySync)
	}
}

func (s *Store) syncLazy() {
	if err := s.db.LogData(nil, pebble.Sync); err != nil {
		logger{s.log}.Fatalf("sync: %v", err)
	}
}

func (s *Store) finishLoop() {
	defer s.loops.Done()
	for b := range s.batches {
		if b.sync {
			if err := b.pb.SyncWait(); err != nil {
				logger{s.log}.Fatalf("sync: %v", err)
			}
		}
		s.finish(b)
		s.flying.Add(-1)
	}
}

// finish makes the batch visible, shows it to the watches and acknowledges it.
func (s *Store) finish(b *batch) {
	if b.pb != nil {
		_ = b.pb.Close()
		s.watches.dispatch(b.events, func() { s.visible.Store(b.last) })
	}
	for _, r := range b.done {
		r.settle(r.revision, r.err)
	}
}

// maker fills one batch.
type maker struct {
	s   *Store
	b   *batch
	it  *pebble.Iterator
	err error
	now time.Time

	spaceKnown, noSpace, noDeletions bool
}

func (m *maker) close() {
	if m.it != nil {
		_ = m.it.Close()
	}
	m.s.commits.recent.age()
}

// add checks the request and puts its write into the batch. A refusal is an
// outcome, kept in the request; the error is one of reading the database.
func (m *maker) add(r *request) error {
	s, c, w := m.s, &m.s.commits, &r.w
	if m.short(w.Value == nil) {
		r.settle(0, store.ErrNoSpace)
		return nil
	}
	old, err := m.newest(w.Key)
	if err != nil {
		return err
	}
	at := old.revision
	if !old.exists() {
		at = 0
	}
	if at != w.Expect || at == 0 && w.Value == nil {
		if old.revision <= s.visible.Load() {
			r.settle(0, store.ErrConflict)
			return nil
		}
		r.err = store.ErrConflict
		m.b.done = append(m.b.done, r)
		return nil
	}

	revision := c.revision + 1
	next := state{revision: revision}
	next.deleted = w.Value == nil
	next.create = revision
	ev := store.Event{Item: store.Item{Key: w.Key, Value: w.Value, Revision: revision, Object: w.Object}, Deleted: next.deleted}
	if old.exists() {
		next.create = old.create
	}
	ev.CreateRevision = next.create
	if w.TTL > 0 && !next.deleted {
		next.expires = m.deadline(w.TTL)
	}
	if w.Object != nil {
		w.Object.SetResourceVersion(strconv.FormatInt(revision, 10))
	}
	if err := m.put(w.Key, w.Value, old, next); err != nil {
		return err
	}

	c.revision = revision
	c.recent.put(w.Key, next)
	m.b.events = append(m.b.events, ev)
	m.b.sync = m.b.sync || !w.Lazy
	r.revision = revision
	m.b.done = append(m.b.done, r)
	return nil
}

func (m *maker) short(deletion bool) bool {
	if m.s.disk == nil {
		return false
	}
	if !m.spaceKnown {
		m.spaceKnown = true
		if m.noSpace = m.s.disk.short(false); m.noSpace {
			m.noDeletions = m.s.disk.short(true)
		}
	}
	if deletion {
		return m.noDeletions
	}
	return m.noSpace
}

// put writes the records of one change.
func (m *maker) put(key string, value []byte, old, next state) error {
	c := &m.s.commits
	if m.b.pb == nil {
		m.b.pb = m.s.db.NewBatch()
	}
	pb := m.b.pb

	head := next.version.appendTo(c.keyBuf[:0])
	c.keyBuf = head
	op := pb.SetDeferred(1+len(key)+versionEnd, len(head)+len(value))
	appendVersionKey(op.Key[:0], key, next.revision)
	copy(op.Value[copy(op.Value, head):], value)
	if err := op.Finish(); err != nil {
		return err
	}

	e := entry{deleted: next.deleted, key: key}
	if old.exists() {
		e.previous = old.revision
	}
	c.keyBuf = e.appendTo(c.keyBuf[:0])
	op = pb.SetDeferred(9, len(c.keyBuf))
	appendLogKey(op.Key[:0], next.revision)
	copy(op.Value, c.keyBuf)
	if err := op.Finish(); err != nil {
		return err
	}

	if old.exists() && old.expires != 0 {
		c.keyBuf = appendExpiryKey(c.keyBuf[:0], old.expires, old.revision)
		if err := pb.SingleDelete(c.keyBuf, nil); err != nil {
			return err
		}
	}
	if next.expires != 0 {
		c.keyBuf = appendExpiryKey(c.keyBuf[:0], next.expires, next.revision)
		if err := pb.Set(c.keyBuf, []byte(key), nil); err != nil {
			return err
		}
		m.s.armExpiry(next.expires)
	}
	return nil
}

// newest returns the state of the key with all that was committed or is in
// this batch, acknowledged or not.
func (m *maker) newest(key string) (state, error) {
	s, c := m.s, &m.s.commits
	if st, ok := c.recent.get(key); ok {
		return st, nil
	}
	if m.it == nil {
		// Most keys that are looked for here are new: filters tell, at every level.
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{versionSpace}, UpperBound: []byte{versionSpace + 1}, UseL6Filters: true})
		if err != nil {
			return state{}, err
		}
		m.it = it
	}
	c.keyBuf = appendVersionKey(c.keyBuf[:0], key, math.MaxInt64)
	if !m.it.SeekPrefixGE(c.keyBuf) {
		return state{}, m.it.Error()
	}
	st, _, err := stateAt(m.it)
	if err == nil {
		c.recent.put(key, st)
	}
	return st, err
}

// stateAt reads the state that the iterator is at, and its value, which is
// valid until the iterator moves; a deletion has none.
func stateAt(it *pebble.Iterator) (state, []byte, error) {
	_, revision, ok := splitVersionKey(it.Key())
	if !ok {
		return state{}, nil, errDamaged
	}
	b, err := it.ValueAndErr()
	if err != nil {
		return state{}, nil, err
	}
	v, value, err := parseVersion(b)
	if err != nil {
		return state{}, nil, err
	}
	if v.deleted {
		value = nil
	}
	return state{version: v, revision: revision}, value, nil
}
