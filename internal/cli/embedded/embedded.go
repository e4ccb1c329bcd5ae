// Package embedded holds the programs that clipper carries inside, compressed:
// kubectl, and the web server of the demo.
package embedded

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// The pattern also matches when nothing has been packed yet.
//
//go:embed *
var files embed.FS

// ErrNotBuilt is returned when clipper was built without the program.
var ErrNotBuilt = errors.New("this clipper was built without it; `make build` builds it whole")

// Program returns a program's bytes.
func Program(name string) ([]byte, error) {
	packed, err := packed(name)
	if err != nil {
		return nil, err
	}
	return unpack(name, packed)
}

// Kubectl returns the path of an executable kubectl, unpacked into the user's
// cache on first use. The file's name holds the hash of what was carried, so an
// upgraded clipper never runs an older one's.
func Kubectl() (string, error) {
	packed, err := packed("kubectl")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("kubectl is unpacked into your cache: %w", err)
	}
	sum := sha256.Sum256(packed)
	dir := filepath.Join(cache, "clipper")
	path := filepath.Join(dir, "kubectl-"+hex.EncodeToString(sum[:8]))
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return path, nil
	}
	data, err := unpack("kubectl", packed)
	if err != nil {
		return "", err
	}
	if err := install(data, dir, path); err != nil {
		return "", fmt.Errorf("kubectl is unpacked into %s: %w; name a folder that you can write to in XDG_CACHE_HOME", dir, err)
	}
	return path, nil
}

func packed(name string) ([]byte, error) {
	data, err := files.ReadFile(name + ".zst")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNotBuilt)
	}
	return data, err
}

func unpack(name string, packed []byte) ([]byte, error) {
	dec, err := zstd.NewReader(bytes.NewReader(nil), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	data, err := dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("unpacking %s: %w", name, err)
	}
	return data, nil
}

// install writes an executable under its final name in one step.
func install(data []byte, dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has its final name
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Chmod(0o755), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
