package auth

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEncryptionKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := EncryptionKey(dir)
	if err != nil || len(first) != encryptionKeySize {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	if again, err := EncryptionKey(dir); err != nil || !bytes.Equal(again, first) {
		t.Errorf("the second start has another key: %v", err)
	}
	path := filepath.Join(dir, encryptionKeyFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("c2hvcnQ=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := EncryptionKey(dir); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a damaged key: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := EncryptionKey(dir); err == nil {
		t.Error("a key that others can read is taken")
	}
}
