package cri

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/image"
)

// mounts are a container's, in the order in which they are made: what every
// container has, what its pod shares, the volumes its image declares, and those
// of its configuration. One of the configuration takes the place of any other.
// The second value is the propagation its root filesystem needs.
func (r *Runtime) mounts(c *container, img *image.Image, rootfs string) ([]specs.Mount, string, error) {
	config, sc := c.config, c.config.GetLinux().GetSecurityContext()
	given := map[string]bool{}
	for _, m := range config.Mounts {
		given[path.Clean("/"+m.ContainerPath)] = true
	}
	sys := "ro"
	if sc.GetPrivileged() {
		sys = "rw"
	}
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", sys}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", sys}},
	}
	// Each option costs the container's start a further system call, so what the
	// pod shares has none that it does not need: it is on a filesystem of this
	// runtime's, with nothing mounted below.
	var shared []string
	if sc.GetReadonlyRootfs() {
		shared = []string{"ro"}
	}
	dir := r.runPath("sandboxes", c.sandbox.id)
	for name, target := range map[string]string{"hostname": "/etc/hostname", "hosts": "/etc/hosts", "resolv.conf": "/etc/resolv.conf"} {
		if source := path.Join(dir, name); fileExists(source) {
			list = append(list, bind(source, target, "bind", shared...))
		}
	}
	if namespaceOptions(c.sandbox.config).Ipc == runtimeapi.NamespaceMode_NODE {
		list = append(list, bind("/dev/shm", "/dev/shm", "rbind", "rprivate"))
	} else {
		list = append(list, bind(path.Join(dir, "shm"), "/dev/shm", "bind"))
	}
	list = slices.DeleteFunc(list, func(m specs.Mount) bool { return given[m.Destination] })

	volumes, err := r.imageVolumes(c, img, rootfs, given)
	if err != nil {
		return nil, "", err
	}
	list = append(list, volumes...)

	propagation := ""
	extra := make([]specs.Mount, 0, len(config.Mounts))
	for i, m := range config.Mounts {
		mount, err := r.mount(c, i, m)
		if err != nil {
			return nil, "", err
		}
		switch m.Propagation {
		case runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL:
			propagation = "rshared"
		case runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER:
			if propagation == "" {
				propagation = "rslave"
			}
		}
		extra = append(extra, mount)
	}
	// A mount inside another one's place must come after it.
	slices.SortStableFunc(extra, func(a, b specs.Mount) int {
		return strings.Count(path.Clean(a.Destination), "/") - strings.Count(path.Clean(b.Destination), "/")
	})
	return append(list, extra...), propagation, nil
}

// bind mounts a file or folder of the node; kind is bind, or rbind for all that
// is mounted below it too.
func bind(source, target, kind string, options ...string) specs.Mount {
	return specs.Mount{Type: "bind", Source: source, Destination: target, Options: append([]string{kind}, options...)}
}

// mount is one of the container's configuration.
func (r *Runtime) mount(c *container, i int, m *runtimeapi.Mount) (specs.Mount, error) {
	target := path.Clean("/" + m.ContainerPath)
	if m.ContainerPath == "" {
		return specs.Mount{}, errors.New("a mount's container path is empty")
	}
	if m.GetImage().GetImage() != "" {
		source, err := r.mountImage(c, i, m)
		if err != nil {
			return specs.Mount{}, fmt.Errorf("failed to mount image %q: %w", m.Image.Image, err)
		}
		return bind(source, target, "bind", "ro", "rprivate"), nil
	}
	if _, err := os.Stat(m.HostPath); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(m.HostPath, 0o755); err != nil {
			return specs.Mount{}, fmt.Errorf("failed to mkdir %q: %w", m.HostPath, err)
		}
	} else if err != nil {
		return specs.Mount{}, fmt.Errorf("failed to stat %q: %w", m.HostPath, err)
	}
	propagation := map[runtimeapi.MountPropagation]string{
		runtimeapi.MountPropagation_PROPAGATION_PRIVATE:           "rprivate",
		runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER: "rslave",
		runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL:     "rshared",
	}[m.Propagation]
	options := []string{propagation}
	switch {
	case m.RecursiveReadOnly && !m.Readonly:
		return specs.Mount{}, errors.New("recursive read-only mount conflicts with a read-write mount")
	case m.RecursiveReadOnly && m.Propagation != runtimeapi.MountPropagation_PROPAGATION_PRIVATE:
		return specs.Mount{}, errors.New("recursive read-only mount needs private propagation")
	case m.RecursiveReadOnly:
		options = append(options, "rro")
	case m.Readonly:
		options = append(options, "ro")
	}
	return bind(m.HostPath, target, "rbind", options...), nil
}

// mountImage mounts another image's files for a container to read.
func (r *Runtime) mountImage(c *container, i int, m *runtimeapi.Mount) (string, error) {
	img, err := r.images.Get(m.Image.Image)
	if err != nil {
		return "", err
	}
	dirs, release, err := r.images.Hold(img.Layers)
	if err != nil {
		return "", err
	}
	own := c.release
	c.release = func() { own(); release() }
	c.layers = slices.Concat(c.layers, img.Layers)
	target := r.runPath("containers", c.id, "image-"+strconv.Itoa(i))
	if err := os.Mkdir(target, 0o755); err != nil {
		return "", err
	}
	if err := mountOverlay(target, dirs, ""); err != nil {
		return "", err
	}
	if m.ImageSubPath == "" {
		return target, nil
	}
	f, err := openInRoot(target, m.ImageSubPath, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// The path is read back from the kernel: it is the one that was checked.
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// imageVolumes gives each folder that the image declares a volume a writable
// place of its own, filled with what the image has there.
func (r *Runtime) imageVolumes(c *container, img *image.Image, rootfs string, given map[string]bool) ([]specs.Mount, error) {
	var list []specs.Mount
	names := make([]string, 0, len(img.Spec.Volumes))
	for name := range img.Spec.Volumes {
		names = append(names, path.Clean("/"+name))
	}
	slices.Sort(names)
	for i, name := range names {
		if given[name] || name == "/" {
			continue
		}
		source := r.statePath("containers", c.id, "volume-"+strconv.Itoa(i))
		if err := os.Mkdir(source, 0o755); err != nil {
			return nil, err
		}
		if err := copyVolume(rootfs, name, source); err != nil {
			return nil, fmt.Errorf("filling the volume %q: %w", name, err)
		}
		list = append(list, bind(source, name, "bind", "rprivate"))
	}
	return list, nil
}

// copyVolume copies a folder of the image, with owners and modes; one that the
// image lacks is empty. Links are copied as such and never followed.
func copyVolume(rootfs, name, to string) error {
	dir, err := openInRoot(rootfs, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	from := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	return filepath.WalkDir(from+"/.", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(strings.TrimPrefix(p, from), "/."))
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		switch e.Type() {
		case fs.ModeDir:
			if err := os.Mkdir(target, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		case fs.ModeSymlink:
			link, err := os.Readlink(p)
			if err != nil {
				return err
			}
			if err := os.Symlink(link, target); err != nil {
				return err
			}
			return os.Lchown(target, int(st.Uid), int(st.Gid))
		case 0:
			if err := copyFile(p, target); err != nil {
				return err
			}
		default:
			return nil
		}
		if err := os.Lchown(target, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
		return unix.Chmod(target, st.Mode&0o7777)
	})
}

func copyFile(from, to string) error {
	src, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
