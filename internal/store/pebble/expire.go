package pebble

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"clipper/internal/store"
)

// expireAtOnce bounds how many keys one batch of expiries deletes.
const expireAtOnce = 1000

// deadline returns when a key written now expires, in unix milliseconds. It is
// rounded up by at most 1/64 of the TTL, so that keys that expire close
// together share a wake-up and a batch.
func (m *maker) deadline(ttl time.Duration) int64 {
	if m.now.IsZero() {
		m.now = m.s.clock.Now()
	}
	step := max(int64(ttl/64/time.Millisecond), 1)
	at := m.now.Add(ttl + time.Millisecond - 1).UnixMilli()
	return (at + step - 1) / step * step
}

// armExpiry makes sure the committer wakes up at the deadline.
func (s *Store) armExpiry(deadline int64) {
	c := &s.commits
	if c.expiry != nil {
		if c.due <= deadline {
			return
		}
		c.expiry.Stop()
	}
	c.due = deadline
	c.expiry = s.clock.NewTimer(time.UnixMilli(deadline).Sub(s.clock.Now()))
}

func (s *Store) recoverExpiry() error {
	return s.eachExpiry(func(deadline, _ int64, _ string) bool {
		s.armExpiry(deadline)
		return false
	})
}

// expire deletes what is due, and arms the timer for what comes next.
func (s *Store) expire() {
	var due []*request
	now := s.clock.Now().UnixMilli()
	err := s.eachExpiry(func(deadline, revision int64, key string) bool {
		if deadline > now {
			s.armExpiry(deadline)
			return false
		}
		if len(due) == expireAtOnce {
			s.armExpiry(now)
			return false
		}
		due = append(due, &request{w: store.Write{Key: key, Expect: revision, Lazy: true}, expiry: true})
		return true
	})
	if err != nil {
		s.log.Error("store: reading what expires failed", "err", err)
	}
	if len(due) > 0 && s.disk != nil && s.disk.short(true) {
		s.armExpiry(now + time.Minute.Milliseconds())
		return
	}
	s.commitAll(due)
}

// eachExpiry calls f in the order of the deadlines until it returns false.
func (s *Store) eachExpiry(f func(deadline, revision int64, key string) bool) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{expirySpace}, UpperBound: []byte{expirySpace + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		deadline, revision, valid := splitExpiryKey(it.Key())
		if valid && !f(deadline, revision, string(it.Value())) {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}
