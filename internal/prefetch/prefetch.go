// Package prefetch asks the processor to bring memory near before it is read.
//
// A list's objects lie all over the heap, and each is read once: without it, most
// of the time that composing a list takes is waiting for one object after another.
// It is a hint, which changes nothing but how long reading takes, and does nothing
// on processors for which nobody wrote it.
package prefetch

import "unsafe"

// Bytes brings all of b.
func Bytes(b []byte) {
	if len(b) > 0 {
		lines(unsafe.Pointer(unsafe.SliceData(b)), len(b))
	}
}

// Value brings the beginning of what p points to; nil is allowed.
func Value[T any](p *T) { lines(unsafe.Pointer(p), 1) }
