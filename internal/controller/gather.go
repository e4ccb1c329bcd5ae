package controller

import "time"

const (
	// gatherFrom is the size from which on changes of a set of objects are
	// gathered for a moment before the set is looked at as a whole.
	gatherFrom = 100
	gatherEach = 20 * time.Microsecond
)

// Gather is how long changes among n objects are gathered, so that the work
// of looking at all n for the change of one stays in bounds: 60 ms for 3,000.
func Gather(n int) time.Duration {
	if n < gatherFrom {
		return 0
	}
	return time.Duration(n) * gatherEach
}
