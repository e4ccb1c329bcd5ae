package logs

import (
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Rotate moves the log aside, has reopen make the writer begin a new one, packs
// what earlier rotations left, and keeps the newest keep files of all. When
// reopen fails the log is put back, so that nothing is lost.
func Rotate(path string, now time.Time, keep int, reopen func() error) error {
	old, err := rotated(path)
	if err != nil {
		return err
	}
	for len(old) > max(keep-2, 0) {
		if err := os.Remove(old[0]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		old = old[1:]
	}
	for _, f := range old {
		if !strings.HasSuffix(f, ".gz") {
			if err := pack(f); err != nil {
				return err
			}
		}
	}
	aside := path + "." + now.UTC().Format("20060102-150405")
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	if err := reopen(); err != nil {
		return errors.Join(err, os.Rename(aside, path))
	}
	return nil
}

// rotated lists what earlier rotations left, oldest first. Half-packed files
// are removed.
func rotated(path string) ([]string, error) {
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), filepath.Base(path)+".") {
			continue
		}
		full := filepath.Join(filepath.Dir(path), e.Name())
		if strings.HasSuffix(full, ".tmp") {
			if err := os.Remove(full); err != nil {
				return nil, err
			}
			continue
		}
		out = append(out, full)
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Compare(strings.TrimSuffix(a, ".gz"), strings.TrimSuffix(b, ".gz"))
	})
	return out, nil
}

func pack(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := path + ".tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}
