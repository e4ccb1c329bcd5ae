// Package start keeps the collector from running while packages are initialised.
//
// What they make then stays. To collect it, once or twice, would cost every
// command and every node several milliseconds of its start, and find next to
// nothing. The package imports one other, so that it is among the first to be
// initialised.
package start

import "runtime/debug"

const (
	usual = 100 // what GOGC is if nobody says
	// roomy lets a command's heap reach 16 MB before it is collected.
	roomy = 400
)

// told is what the collector was told before.
var told = debug.SetGCPercent(-1) // never changed

// Over lets the collector run again, as it was told to if it was.
func Over() {
	if told == usual {
		debug.SetGCPercent(roomy)
		return
	}
	debug.SetGCPercent(told)
}
