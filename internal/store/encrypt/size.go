package encrypt

// Size is how many bytes the store below has on the disk, or 0 if it does not say.
func (s *Store) Size() int64 {
	if of, ok := s.Store.(interface{ Size() int64 }); ok {
		return of.Size()
	}
	return 0
}
