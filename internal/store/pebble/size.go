package pebble

// Size is how many bytes the store has on the disk.
func (s *Store) Size() int64 { return int64(s.db.Metrics().DiskSpaceUsage()) }
