package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"clipper/internal/store"
)

// compactAtOnce bounds how many revisions one batch forgets.
const compactAtOnce = 1000

// mark says that the store had reached a revision at a time.
type mark struct {
	at       time.Time
	revision int64
}

// marksKept is how many marks the time of HistoryKept is divided into.
const marksKept = 8

// markHistory notes how far the history reaches, if it is time for a mark, and
// returns the revision before which it may be forgotten, or 0.
func (c *committer) markHistory(now time.Time, revision int64) (forget int64) {
	if c.kept < 0 {
		return 0
	}
	if n := len(c.marks); n > 0 && now.Sub(c.marks[n-1].at) < c.kept/marksKept {
		return 0
	}
	old := 0
	for old < len(c.marks) && now.Sub(c.marks[old].at) >= c.kept {
		forget = c.marks[old].revision
		old++
	}
	c.marks = append(slices.Delete(c.marks, 0, old), mark{now, revision})
	return forget
}

// tidy starts a compaction in the background when writes have gone on
// for long enough. An idle store keeps what it has.
func (s *Store) tidy() {
	forget := s.commits.markHistory(s.clock.Now(), s.commits.revision)
	if forget == 0 {
		return
	}
	s.tidyTo.Store(forget)
	if s.tidying.CompareAndSwap(false, true) {
		s.loops.Go(s.tidyUp)
	}
}

func (s *Store) tidyUp() {
	for {
		forget := s.tidyTo.Load()
		err := s.Compact(s.ending, forget)
		if err != nil && s.ending.Err() == nil && !errors.Is(err, store.ErrNoSpace) {
			s.log.Error("store: forgetting old revisions failed", "err", err)
		}
		s.tidying.Store(false)
		// What was asked for meanwhile found this one at work.
		if s.tidyTo.Load() == forget || !s.tidying.CompareAndSwap(false, true) {
			return
		}
	}
}

// Compact implements store.Store. What was compacted before is not an error.
func (s *Store) Compact(ctx context.Context, revision int64) error {
	done, err := s.use()
	if err != nil {
		return err
	}
	defer done()
	s.compactMu.Lock()
	defer s.compactMu.Unlock()
	from := s.compacted.Load()
	switch {
	case revision > s.visible.Load():
		return store.ErrFuture
	case revision <= from:
		return nil
	case s.disk != nil && s.disk.short(true):
		return store.ErrNoSpace
	}
	// Readers that begin from here on are turned away before anything goes.
	s.compacted.Store(revision)
	for from < revision {
		if from, err = s.forget(from, revision); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil && from < revision {
			return err
		}
	}
	return nil
}

// forget deletes what the log says was overwritten after one revision and up to
// another, in one batch, and returns how far it got. It need not be synced:
// lost, it is only done again.
func (s *Store) forget(from, to int64) (int64, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: appendLogKey(nil, from+1), UpperBound: appendLogKey(nil, to+1)})
	if err != nil {
		return from, err
	}
	pb := s.db.NewBatch()
	reached, err := forgetLogged(pb, it, to)
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return from, errors.Join(err, pb.Close())
	}
	gaps := slices.DeleteFunc(slices.Clone(*s.gaps.Load()), func(g gap) bool { return g.last < reached })
	if len(gaps) < len(*s.gaps.Load()) {
		s.gaps.Store(&gaps)
		err = pb.Set(metaGaps, encodeGaps(gaps), nil)
	}
	err = errors.Join(err, pb.Set(metaCompacted, binary.BigEndian.AppendUint64(nil, uint64(reached)), nil))
	if err == nil {
		err = s.db.Apply(pb, pebble.NoSync)
	}
	return reached, errors.Join(err, pb.Close())
}

func forgetLogged(pb *pebble.Batch, it *pebble.Iterator, to int64) (int64, error) {
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		if len(k) != 9 {
			return 0, errDamaged
		}
		revision := int64(binary.BigEndian.Uint64(k[1:]))
		if n++; n > compactAtOnce {
			return revision - 1, nil
		}
		b, err := it.ValueAndErr()
		if err != nil {
			return 0, err
		}
		e, err := parseEntry(b)
		if err != nil {
			return 0, err
		}
		if e.previous != 0 {
			err = pb.SingleDelete(appendVersionKey(nil, e.key, e.previous), nil)
		}
		if e.deleted {
			err = errors.Join(err, pb.SingleDelete(appendVersionKey(nil, e.key, revision), nil))
		}
		if err = errors.Join(err, pb.SingleDelete(k, nil)); err != nil {
			return 0, err
		}
	}
	return to, nil
}
