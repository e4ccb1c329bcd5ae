//go:build amd64 || arm64

package prefetch

import "unsafe"

// lines brings the lines that begin at p and every 64 bytes after it, before p+n;
// the first always.
//
//go:noescape
func lines(p unsafe.Pointer, n int)
