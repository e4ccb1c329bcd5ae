package ownership

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// internedMost is how many bytes of sets are remembered, twice at most.
const internedMost = 256 << 10

// interned shares sets that are written alike, as those of all pods of a
// Deployment are, so that they cost a cluster's memory once. Those that are not
// asked for again are forgotten: a full generation takes the place of the last.
type interned struct {
	mu         sync.Mutex
	young, old map[string]*metav1.FieldsV1
	bytes      int
}

// share returns the set that raw is. It is never changed; raw is kept if it is
// the first of its kind.
func (s *interned) share(raw []byte) *metav1.FieldsV1 {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.young[string(raw)]
	if f != nil {
		return f
	}
	if f = s.old[string(raw)]; f == nil {
		kept := make([]byte, len(raw))
		copy(kept, raw)
		f = &metav1.FieldsV1{Raw: kept}
	}
	if s.young == nil || s.bytes > internedMost {
		s.old, s.young, s.bytes = s.young, map[string]*metav1.FieldsV1{}, 0
	}
	s.young[string(f.Raw)] = f
	s.bytes += len(f.Raw)
	return f
}

// written returns a set as entries hold it, or nil if it is empty.
func (t *Tracker) written(s *set) *metav1.FieldsV1 {
	if s.empty() {
		return nil
	}
	b, _ := t.texts.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	*b = s.appendJSON((*b)[:0])
	f := t.sets.share(*b)
	t.texts.Put(b)
	return f
}

// read returns a set that an entry holds, to be given back with free. It is
// empty if there is an error.
func (t *Tracker) read(raw []byte) (*set, error) {
	s, _ := t.spare.Get().(*set)
	if s == nil {
		s = &set{}
	}
	return s, s.parse(raw)
}

func (t *Tracker) free(s *set) {
	s.clear()
	t.spare.Put(s)
}
