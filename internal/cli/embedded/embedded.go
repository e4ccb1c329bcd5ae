// Package embedded carries kubectl inside clipper, compressed.
package embedded

import (
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

// The pattern also matches when kubectl.zst has not been built yet.
//
//go:embed *
var files embed.FS

// ErrNotBuilt is returned when the program was built without its kubectl.
var ErrNotBuilt = errors.New("this clipper was built without kubectl; build it with `make build`, or use a kubectl of your own")

// Kubectl returns the path of an executable kubectl, unpacked into the user's
// cache on first use. The file's name holds the hash of what was carried, so an
// upgraded clipper never runs an older one's.
func Kubectl() (string, error) {
	packed, err := files.ReadFile("kubectl.zst")
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNotBuilt
	}
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(packed)
	dir := filepath.Join(cache, "clipper")
	path := filepath.Join(dir, "kubectl-"+hex.EncodeToString(sum[:8]))
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return path, nil
	}
	return path, unpack(packed, dir, path)
}

func unpack(packed []byte, dir, path string) (err error) {
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	defer dec.Close()
	data, err := dec.DecodeAll(packed, nil)
	if err != nil {
		return fmt.Errorf("unpacking kubectl: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".kubectl-*")
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
