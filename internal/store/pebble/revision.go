package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// reserveAhead is how many revisions are reserved durably at a time.
const reserveAhead = 10_000

var (
	metaFormat    = []byte("mformat")
	metaRevision  = []byte("mrevision")
	metaCompacted = []byte("mcompacted")
	metaGaps      = []byte("mgaps")
)

// format is of the keys and records of this package.
const format = "clipper store 1"

// gap is a range of revisions, both ends included, that may have been seen and
// then lost. What a client saw there cannot be told from what is stored, so
// they count as compacted.
type gap struct{ first, last int64 }

// reservation is the record below metaRevision: all revisions below bound may
// have been handed out; if clean, exactly those up to bound were.
type reservation struct {
	bound int64
	clean bool
}

func (r reservation) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.bound))
	if r.clean {
		return append(b, 1)
	}
	return append(b, 0)
}

func (s *Store) meta(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v = slices.Clone(v)
	return v, closer.Close()
}

// resume reads what the store knows of itself and finds the revision to go
// on from. It writes nothing: the first batch does.
func (s *Store) resume() error {
	c := &s.commits
	c.revision = 1
	s.gaps.Store(&[]gap{})
	defer func() {
		c.markHistory(s.clock.Now(), c.revision)
		s.visible.Store(c.revision)
	}()

	name, err := s.meta(metaFormat)
	if err != nil {
		return err
	}
	if name == nil {
		return s.expectEmpty()
	}
	if string(name) != format {
		return fmt.Errorf("has the format %q, which this version cannot read", name)
	}
	if err := s.recoverHistory(); err != nil {
		return err
	}
	b, err := s.meta(metaRevision)
	if err != nil {
		return err
	}
	if len(b) != 9 {
		return fmt.Errorf("revision: %w", errDamaged)
	}
	r := reservation{bound: int64(binary.BigEndian.Uint64(b)), clean: b[8] == 1}
	c.revision = r.bound
	if !r.clean {
		last, err := s.lastLogged()
		if err != nil {
			return err
		}
		if last = max(last, s.compacted.Load()); last >= r.bound {
			return fmt.Errorf("revision %d is beyond %d: %w", last, r.bound, errDamaged)
		}
		if last+1 < r.bound {
			gaps := append(slices.Clone(*s.gaps.Load()), gap{last + 1, r.bound - 1})
			s.gaps.Store(&gaps)
		}
	}
	return s.recoverExpiry()
}

func (s *Store) expectEmpty() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if it.First() {
		return errors.Join(errors.New("is a pebble database of something else"), it.Close())
	}
	return errors.Join(it.Error(), it.Close())
}

func (s *Store) recoverHistory() error {
	b, err := s.meta(metaCompacted)
	if err != nil {
		return err
	}
	if len(b) == 8 {
		s.compacted.Store(int64(binary.BigEndian.Uint64(b)))
	}
	b, err = s.meta(metaGaps)
	if err != nil {
		return err
	}
	gaps := []gap{}
	for ; len(b) >= 16; b = b[16:] {
		gaps = append(gaps, gap{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))})
	}
	s.gaps.Store(&gaps)
	return nil
}

func (s *Store) lastLogged() (int64, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{logSpace}, UpperBound: []byte{logSpace + 1}})
	if err != nil {
		return 0, err
	}
	var last int64
	if it.Last() {
		if k := it.Key(); len(k) == 9 {
			last = int64(binary.BigEndian.Uint64(k[1:]))
		}
	}
	return last, errors.Join(it.Error(), it.Close())
}

// reserve adds to the batch what must be durable before its revisions are
// handed out, and tells whether it did. The first batch after Open also
// carries the rest of what resume found.
func (s *Store) reserve(pb *pebble.Batch) (bool, error) {
	c := &s.commits
	if c.revision < c.bound {
		return false, nil
	}
	first := c.bound == 0
	c.bound = c.revision + reserveAhead
	if err := pb.Set(metaRevision, reservation{bound: c.bound}.encode(), nil); err != nil {
		return false, err
	}
	if !first {
		return true, nil
	}
	if err := pb.Set(metaFormat, []byte(format), nil); err != nil {
		return false, err
	}
	return true, pb.Set(metaGaps, encodeGaps(*s.gaps.Load()), nil)
}

func encodeGaps(gaps []gap) []byte {
	var b []byte
	for _, g := range gaps {
		b = binary.BigEndian.AppendUint64(b, uint64(g.first))
		b = binary.BigEndian.AppendUint64(b, uint64(g.last))
	}
	return b
}

// endRevisions gives back what was reserved and not used, and syncs all that
// was written. A store that was only read is left as it is.
func (s *Store) endRevisions() error {
	if s.commits.bound == 0 || s.memory {
		return nil
	}
	return s.db.Set(metaRevision, reservation{bound: s.commits.revision, clean: true}.encode(), pebble.Sync)
}

// lost tells whether clients may have seen a state at the revision that is gone.
func (s *Store) lost(revision int64) bool {
	for _, g := range *s.gaps.Load() {
		if g.first <= revision && revision <= g.last {
			return true
		}
	}
	return false
}
