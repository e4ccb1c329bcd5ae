package pebble

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler lets as many compactions run as the database allows by itself.
// Pebble's own one looks for work ten times a second; this one only when a
// compaction was asked for or has ended.
type scheduler struct {
	db pebble.DBForCompaction

	mu              sync.Mutex
	idle            sync.Cond // the grant under way ended
	running         int
	granting, again bool // a grant is under way; it shall look once more
	closed          bool
}

func newScheduler() *scheduler {
	s := &scheduler{}
	s.idle.L = &s.mu
	return s
}

func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

func (s *scheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.granting {
		s.idle.Wait()
	}
}

// take counts a compaction in if one more may run.
func (s *scheduler) take() bool {
	if s.closed || s.running >= s.db.GetAllowedWithoutPermission() {
		return false
	}
	s.running++
	return true
}

func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.take() {
		return false, nil
	}
	return true, s
}

// UpdateGetAllowedWithoutPermission is called under locks of the database, so
// it must not call it back.
func (s *scheduler) UpdateGetAllowedWithoutPermission() { go s.grant() }

// grant starts the compactions that wait, one after another.
func (s *scheduler) grant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.granting {
		s.again = true
		return
	}
	s.granting = true
	for s.take() {
		s.again = false
		s.mu.Unlock()
		waiting, _ := s.db.GetWaitingCompaction()
		started := waiting && s.db.Schedule(s)
		s.mu.Lock()
		if !started {
			s.running--
			if !s.again {
				break
			}
		}
	}
	s.granting = false
	s.idle.Broadcast()
}

func (s *scheduler) Started()                                                {}
func (s *scheduler) MeasureCPU(pebble.CompactionGoroutineKind)               {}
func (s *scheduler) CumulativeStats(stats pebble.CompactionGrantHandleStats) {}

func (s *scheduler) Done() {
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
	s.grant()
}
