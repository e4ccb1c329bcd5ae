package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (m *Manager) emptyDirs(uid types.UID) string {
	return filepath.Join(m.Dir(uid), "volumes", "kubernetes.io~empty-dir")
}

// emptyDir makes a directory, or a memory file system, that lives as long as
// the pod.
func (m *Manager) emptyDir(pod *v1.Pod, v *v1.Volume) (string, error) {
	dir := filepath.Join(m.emptyDirs(pod.UID), v.Name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return "", err
	}
	switch err := os.Mkdir(dir, 0o777); {
	case errors.Is(err, fs.ErrExist):
		// Made before a restart of the agent.
		var st unix.Statfs_t
		medium := v.EmptyDir.Medium
		if medium == v1.StorageMediumDefault || unix.Statfs(dir, &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.HUGETLBFS_MAGIC) {
			return dir, nil
		}
	case err != nil:
		return "", err
	}
	if err := mountMedium(dir, v.EmptyDir); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // whatever the umask is
		return "", err
	}
	return dir, own(dir, fsGroup(pod))
}

func mountMedium(dir string, e *v1.EmptyDirVolumeSource) error {
	var kind string
	var options []string
	if e.SizeLimit != nil && e.SizeLimit.Value() > 0 {
		options = append(options, "size="+strconv.FormatInt(e.SizeLimit.Value(), 10))
	}
	switch medium := string(e.Medium); {
	case medium == string(v1.StorageMediumDefault):
		return nil
	case medium == string(v1.StorageMediumMemory):
		kind = "tmpfs"
	case strings.HasPrefix(medium, string(v1.StorageMediumHugePages)):
		kind = "hugetlbfs"
		if size := strings.TrimPrefix(strings.TrimPrefix(medium, string(v1.StorageMediumHugePages)), "-"); size != "" {
			options = append(options, "pagesize="+strings.TrimSuffix(size, "i"))
		}
	default:
		return fmt.Errorf("unknown storage medium %q", medium)
	}
	if err := unix.Mount(kind, dir, kind, 0, strings.Join(options, ",")); err != nil {
		return &fs.PathError{Op: "mount " + kind, Path: dir, Err: err}
	}
	return nil
}

func (m *Manager) removeEmptyDirs(uid types.UID) error {
	dir := m.emptyDirs(uid)
	list, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		if err := unmount(path); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}

// unmount takes away all that is mounted at path; nothing there is fine.
func unmount(path string) error {
	for {
		switch err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		case err != nil:
			return &fs.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
}
