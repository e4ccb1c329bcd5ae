package cri

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mountOverlay stacks the layers, uppermost first, below a writable one in
// state/upper, and mounts them at target. Without state it is read-only.
func mountOverlay(target string, layers []string, state string) error {
	if len(layers) == 0 {
		// An image without layers is an empty directory.
		empty := filepath.Join(filepath.Dir(target), "empty")
		if err := os.Mkdir(empty, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		layers = []string{empty}
	}
	if state != "" {
		if err := likeRoot(state+"/upper", layers[0]); err != nil {
			return err
		}
	}
	if state == "" && len(layers) == 1 {
		return bindReadOnly(layers[0], target)
	}
	err := overlayByParts(target, layers, state)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		// Before Linux 6.5 layers could not be given one by one.
		err = overlayAtOnce(target, layers, state)
	}
	if err != nil {
		return fmt.Errorf("mounting the root filesystem: %w", err)
	}
	return nil
}

// overlayByParts mounts through a filesystem context, where each layer is a
// parameter of its own and their number has no bound worth naming.
func overlayByParts(target string, layers []string, state string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, layer := range layers {
		if err := unix.FsconfigSetString(fs, "lowerdir+", layer); err != nil {
			return os.NewSyscallError("fsconfig", err)
		}
	}
	attributes := 0
	if state != "" {
		for key, value := range map[string]string{"upperdir": state + "/upper", "workdir": state + "/work"} {
			if err := unix.FsconfigSetString(fs, key, value); err != nil {
				return os.NewSyscallError("fsconfig", err)
			}
		}
		// A writable layer is never used again after a crash, so it need not
		// wait for the disk.
		if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
			return os.NewSyscallError("fsconfig", err)
		}
	} else {
		attributes = unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return os.NewSyscallError("fsconfig", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(mnt)
	return os.NewSyscallError("move_mount", unix.MoveMount(mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// overlayAtOnce mounts with all options in one page.
func overlayAtOnce(target string, layers []string, state string) error {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`)
	escaped := make([]string, len(layers))
	for i, layer := range layers {
		escaped[i] = escape.Replace(layer)
	}
	options := "lowerdir=" + strings.Join(escaped, ":")
	flags := uintptr(unix.MS_RDONLY)
	if state != "" {
		flags = 0
		options += ",upperdir=" + escape.Replace(state+"/upper") + ",workdir=" + escape.Replace(state+"/work")
	}
	if len(options) >= os.Getpagesize() {
		return fmt.Errorf("the image's %d layers need a kernel of version 6.5 or newer", len(layers))
	}
	return os.NewSyscallError("mount", unix.Mount("overlay", target, "overlay", flags, options))
}

// likeRoot gives a writable layer the owner and mode of the layer it goes on:
// they become those of the root folder.
func likeRoot(upper, layer string) error {
	var st unix.Stat_t
	if err := unix.Stat(layer, &st); err != nil {
		return &os.PathError{Op: "stat", Path: layer, Err: err}
	}
	if err := os.Chown(upper, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return os.NewSyscallError("chmod", unix.Chmod(upper, st.Mode&0o7777))
}

func bindReadOnly(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	return os.NewSyscallError("mount", unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
}

// openInRoot opens a path inside a root filesystem. Links are followed, but
// never out of it.
func openInRoot(root, path string, flags uint64) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	path = strings.TrimLeft(path, "/")
	if path == "" {
		path = "."
	}
	for {
		fd, err := unix.Openat2(dir, path, &unix.OpenHow{
			Flags:   flags | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), nil
		case unix.EINTR, unix.EAGAIN:
			continue
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
}
