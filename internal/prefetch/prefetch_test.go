package prefetch

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEdges asks for memory up to where there is none, and for none at all.
func TestEdges(t *testing.T) {
	page := unix.Getpagesize()
	m, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	}()
	if err := unix.Mprotect(m[page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	b := m[:page]
	for i := range b {
		b[i] = byte(i)
	}
	want := bytes.Clone(b)
	for n := range page + 1 {
		Bytes(b[page-n:])
		Bytes(b[:n])
	}
	Bytes(m[page:]) // none that may be read
	Value[int](nil)
	Value(&m[page])
	if !bytes.Equal(b, want) {
		t.Error("the memory changed")
	}
}
