package main

import (
	"syscall"
	"unsafe"
)

func ptr(size *[4]uint16) uintptr { return uintptr(unsafe.Pointer(size)) }

// try makes a system call that an ordinary container must not, or may, make.
func try(name string) error {
	var errno syscall.Errno
	switch name {
	case "mount":
		return syscall.Mount("none", "/tmp", "tmpfs", 0, "")
	case "unshare":
		return syscall.Unshare(syscall.CLONE_NEWUSER)
	case "keyctl":
		_, _, errno = syscall.Syscall(syscall.SYS_KEYCTL, 0, 0, 0)
	case "bpf":
		_, _, errno = syscall.Syscall(321, 0, 0, 0)
	case "clone3":
		_, _, errno = syscall.Syscall(435, 0, 0, 0)
	case "vsock":
		_, _, errno = syscall.Syscall(syscall.SYS_SOCKET, 40, syscall.SOCK_STREAM, 0)
	case "chroot":
		return syscall.Chroot("/tmp")
	case "future": // a number that no kernel has yet
		_, _, errno = syscall.Syscall(1999, 0, 0, 0)
	case "mknod":
		return syscall.Mknod("/tmp/node", syscall.S_IFCHR|0o600, 1<<8|3)
	case "disk": // making is allowed, opening is not
		if err := syscall.Mknod("/tmp/disk", syscall.S_IFBLK|0o600, 254<<8); err != nil {
			return err
		}
		_, err := syscall.Open("/tmp/disk", syscall.O_RDONLY, 0)
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}
