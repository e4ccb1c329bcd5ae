package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// file is a secret to be written.
type file struct {
	name string
	data []byte
}

// writeFiles writes files into dir, each whole or not at all, in order, so
// that the last one exists only if all do. They survive power loss once
// writeFiles has returned.
func writeFiles(dir string, files []file) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temps := make([]string, len(files))
	defer func() {
		for _, t := range temps {
			if t != "" {
				err = errors.Join(err, os.Remove(t))
			}
		}
	}()
	// The syncs wait for the disk side by side.
	synced := make(chan error, len(files))
	for i, f := range files {
		w, err := os.CreateTemp(dir, "."+f.name+"-*") // mode 0600
		if err != nil {
			return err
		}
		temps[i] = w.Name()
		go func() {
			_, err := w.Write(f.data)
			if err == nil {
				err = w.Sync()
			}
			synced <- errors.Join(err, w.Close())
		}()
	}
	var failed error
	for range files {
		failed = errors.Join(failed, <-synced)
	}
	if failed != nil {
		return failed
	}
	for i, f := range files {
		if err := os.Rename(temps[i], filepath.Join(dir, f.name)); err != nil {
			return err
		}
		temps[i] = ""
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readSecret reads a file that holds a private key, and refuses one that
// others can read.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	}
	return readBounded(path, info)
}

func readBounded(path string, info os.FileInfo) ([]byte, error) {
	const most = 1 << 20
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s is not a PEM file", path)
	}
	return os.ReadFile(path)
}
