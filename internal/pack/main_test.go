package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func TestPack(t *testing.T) {
	dir := t.TempDir()
	file, out := filepath.Join(dir, "file"), filepath.Join(dir, "out.zst")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := pack(file, out); err != nil {
			t.Fatal(err)
		}
		packed, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		dec, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer dec.Close()
		if got, err := dec.DecodeAll(packed, nil); err != nil || string(got) != content {
			t.Errorf("%q, %v", got, err)
		}
	}
	write("first")
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(out, old, old); err != nil {
		t.Fatal(err)
	}
	write("first")
	if info, err := os.Stat(out); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("what has not changed was written again: %v", err)
	}
	write("second")
	if err := os.WriteFile(out, bytes.Repeat([]byte("damaged"), 10), 0o600); err != nil {
		t.Fatal(err)
	}
	write("second")
	if err := pack(filepath.Join(dir, "missing"), out); err == nil {
		t.Error("a missing file was packed")
	}
	if left, _ := filepath.Glob(dir + "/*.new"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
