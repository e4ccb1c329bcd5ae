// Command pack compresses a file for embedding: pack FILE OUT. OUT is left
// alone when it already holds FILE, so that a build that changes nothing
// rebuilds nothing.
//
// The zstd command compresses: at its highest levels, and with a window over
// the whole file, it makes a quarter less of a program than the library does.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"

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
	if old, err := os.ReadFile(out); err == nil && holds(old, data) {
		return nil
	}
	cmd := exec.Command("zstd", "-19", "--long=26", "--quiet", "--stdout", file)
	cmd.Stderr = os.Stderr
	packed, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("zstd: %w", err)
	}
	if !holds(packed, data) {
		return errors.New("the compressed form cannot be read back")
	}
	tmp := out + ".new"
	if err := os.WriteFile(tmp, packed, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}

// holds tells whether packed is data, as the library that unpacks it sees it.
func holds(packed, data []byte) bool {
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return false
	}
	defer dec.Close()
	got, err := dec.DecodeAll(packed, nil)
	return err == nil && bytes.Equal(got, data)
}
