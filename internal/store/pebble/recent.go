package pebble

// recent remembers the newest states of keys that were written or looked up
// not long ago: most writes follow an earlier one of the same key. It also
// holds the states of the batch that is being made, which the database does
// not know yet.
type recent struct {
	young, old map[string]state
}

// recentKeys is how many young states become old, and how many old ones are
// then forgotten. A state takes about 70 bytes; its key is that of the event.
const recentKeys = 8192

func (r *recent) get(key string) (state, bool) {
	if st, ok := r.young[key]; ok {
		return st, true
	}
	st, ok := r.old[key]
	return st, ok
}

func (r *recent) put(key string, st state) {
	if r.young == nil {
		r.young = map[string]state{}
	}
	r.young[key] = st
}

// age forgets what is too much; never in the middle of a batch.
func (r *recent) age() {
	if len(r.young) > recentKeys {
		r.old, r.young = r.young, nil
	}
}
