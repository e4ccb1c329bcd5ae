// Package embedded carries the supervisor's binary inside this one.
//
// The supervisor needs cgo and a static libseccomp; the program that embeds it
// needs neither. `make supervisor` builds it before `go build`.
package embedded

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"
)

//go:embed *
var files embed.FS

// maxSize bounds the unpacked binary.
const maxSize = 64 << 20

// ErrMissing is returned by a build that carries no supervisor.
var ErrMissing = errors.New("this build carries no supervisor: run `make supervisor` before building")

// WriteSupervisor unpacks the supervisor's binary into w. The compressed form
// carries a checksum, so what comes out is what was built or an error.
func WriteSupervisor(w io.Writer) error {
	packed, err := files.ReadFile("clipper-supervisor.zst")
	if errors.Is(err, fs.ErrNotExist) {
		return ErrMissing
	}
	if err != nil {
		return err
	}
	d, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSize))
	if err != nil {
		return err
	}
	defer d.Close()
	if _, err := io.Copy(w, d); err != nil {
		return fmt.Errorf("unpacking the supervisor: %w", err)
	}
	return nil
}
