package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// dataLink points at the directory with the files of now; each visible
	// name is a link through it, so that all change when it does.
	dataLink = "..data"
	newLink  = "..data_tmp"
)

// write makes dir show exactly the files, in one step. now only names what is made.
func write(dir string, files map[string]file, group *int64, now time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tops := map[string]bool{}
	for path := range files {
		if err := checkPath(path); err != nil {
			return err
		}
		top, _, _ := strings.Cut(filepath.Clean(path), "/")
		tops[top] = true
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if old != "" && shows(filepath.Join(dir, old), files, group) {
		return nil
	}

	made, err := os.MkdirTemp(dir, now.UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return err
	}
	if err := fill(made, files, group); err != nil {
		os.RemoveAll(made)
		return err
	}
	link := filepath.Join(dir, newLink)
	os.Remove(link)
	if err := os.Symlink(filepath.Base(made), link); err != nil {
		os.RemoveAll(made)
		return err
	}
	if err := os.Rename(link, filepath.Join(dir, dataLink)); err != nil {
		os.Remove(link)
		os.RemoveAll(made)
		return err
	}
	for top := range tops {
		err := os.Symlink(filepath.Join(dataLink, top), filepath.Join(dir, top))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return tidy(dir, filepath.Base(made), tops)
}

func checkPath(path string) error {
	switch {
	case path == "" || filepath.IsAbs(path):
		return fmt.Errorf("invalid path %q: must be relative", path)
	case slices.Contains(strings.Split(path, "/"), ".."), strings.HasPrefix(path, ".."):
		return fmt.Errorf("invalid path %q: must not contain or start with '..'", path)
	}
	return nil
}

// fill writes the files below a fresh directory.
func fill(dir string, files map[string]file, group *int64) error {
	dirMode := fs.FileMode(0o755)
	if group != nil {
		dirMode |= fs.ModeSetgid
	}
	gid := -1
	if group != nil {
		gid = int(*group)
	}
	finish := func(path string, mode fs.FileMode, uid int) error {
		if uid >= 0 || gid >= 0 {
			if err := os.Lchown(path, uid, gid); err != nil {
				return err
			}
		}
		return os.Chmod(path, mode)
	}
	if err := finish(dir, dirMode, -1); err != nil {
		return err
	}
	made := map[string]bool{".": true}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		f := files[path]
		clean := filepath.Clean(path)
		for _, parent := range parents(clean) {
			if made[parent] {
				continue
			}
			made[parent] = true
			full := filepath.Join(dir, parent)
			if err := os.Mkdir(full, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := finish(full, dirMode, -1); err != nil {
				return err
			}
		}
		full := filepath.Join(dir, clean)
		if err := os.WriteFile(full, f.data, 0o600); err != nil {
			return err
		}
		uid := -1
		if f.user != nil {
			uid = int(*f.user)
		}
		if err := finish(full, fileMode(f, group), uid); err != nil {
			return err
		}
	}
	return nil
}

func fileMode(f file, group *int64) fs.FileMode {
	mode := fs.FileMode(f.mode & 0o777)
	if group != nil {
		mode |= 0o440
	}
	return mode
}

// parents lists the directories above a path, outermost first.
func parents(path string) []string {
	var out []string
	for i, r := range path {
		if r == '/' {
			out = append(out, path[:i])
		}
	}
	return out
}

// shows tells whether the directory holds exactly the files.
func shows(dir string, files map[string]file, group *int64) bool {
	left := len(files)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		f, ok := files[rel]
		if !ok {
			return fs.ErrNotExist
		}
		st, err := d.Info()
		if err != nil || st.Size() != int64(len(f.data)) || st.Mode().Perm() != fileMode(f, group) {
			return fs.ErrNotExist
		}
		have, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(have, f.data) {
			return fs.ErrNotExist
		}
		left--
		return nil
	})
	return err == nil && left == 0
}

// tidy removes what the directory no longer shows.
func tidy(dir, current string, tops map[string]bool) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := e.Name()
		if name == dataLink || name == current || tops[name] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
