// Command pack compresses a file for embedding: pack FILE OUT. OUT is left
// alone when it already holds FILE, so that a build that changes nothing
// rebuilds nothing.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack FILE OUT")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(file, out string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(out); err == nil {
		if dec, err := zstd.NewReader(nil); err == nil {
			was, err := dec.DecodeAll(old, nil)
			dec.Close()
			if err == nil && bytes.Equal(was, data) {
				return nil
			}
		}
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	tmp := out + ".new"
	if err := os.WriteFile(tmp, enc.EncodeAll(data, nil), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}
