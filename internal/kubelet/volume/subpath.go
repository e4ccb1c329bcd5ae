package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (m *Manager) subPaths(uid types.UID) string {
	return filepath.Join(m.Dir(uid), "volume-subpaths")
}

// SubPath returns a path on the node that is the part sub of a volume, made if
// missing. It is a mount of the very file that was found inside the volume, so
// links that a container plants, now or later, lead nowhere else.
func (m *Manager) SubPath(pod *v1.Pod, container string, index int, volume Mounted, name, sub string) (string, error) {
	root, err := os.OpenFile(volume.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", name, container, err)
	}
	defer root.Close()
	found, err := pathrs.OpenatInRoot(root, sub)
	if errors.Is(err, fs.ErrNotExist) && !volume.ReadOnly {
		var st fs.FileInfo
		if st, err = root.Stat(); err == nil {
			found, err = pathrs.MkdirAllHandle(root, sub, st.Mode().Perm())
		}
	}
	if err != nil {
		return "", fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", name, container, err)
	}
	defer found.Close()
	st, err := found.Stat()
	if err != nil {
		return "", err
	}

	target := filepath.Join(m.subPaths(pod.UID), name, container, strconv.Itoa(index))
	if err := unmount(target); err != nil {
		return "", err
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return "", err
	}
	if st.IsDir() {
		err = os.Mkdir(target, 0o750)
	} else {
		err = os.WriteFile(target, nil, 0o640)
	}
	if err != nil {
		return "", err
	}
	source := "/proc/self/fd/" + strconv.Itoa(int(found.Fd()))
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", &fs.PathError{Op: "bind mount", Path: target, Err: err}
	}
	return target, nil
}

// removeSubPaths unmounts before it removes, and removes only what is empty,
// so that nothing of the volumes themselves is ever touched.
func (m *Manager) removeSubPaths(uid types.UID) error {
	root := m.subPaths(uid)
	leaves, err := filepath.Glob(filepath.Join(escape(root), "*", "*", "*"))
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		if err := unmount(leaf); err != nil {
			return err
		}
		if err := os.Remove(leaf); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		os.Remove(filepath.Dir(leaf))
		os.Remove(filepath.Dir(filepath.Dir(leaf)))
	}
	if err := os.Remove(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// escape makes a path mean itself in a pattern.
func escape(path string) string {
	out := make([]rune, 0, len(path))
	for _, r := range path {
		if r == '*' || r == '?' || r == '[' || r == '\\' {
			out = append(out, '\\')
		}
		out = append(out, r)
	}
	return string(out)
}
