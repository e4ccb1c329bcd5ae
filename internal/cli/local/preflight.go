package local

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// preflight checks what a cluster needs of the machine. Each error says what
// is missing and what to do.
func preflight(d Dirs) error {
	if os.Geteuid() != 0 {
		return errors.New("a cluster needs root, for namespaces, mounts and cgroups; run the command with sudo")
	}
	const sysAdmin, netAdmin = 21, 12
	for bit, name := range map[int]string{sysAdmin: "CAP_SYS_ADMIN", netAdmin: "CAP_NET_ADMIN"} {
		if on, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(bit), 0, 0, 0); err == nil && on == 0 {
			return fmt.Errorf("a cluster needs the capability %s, which this environment withholds; inside a container, run it privileged", name)
		}
	}
	kinds, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("a cluster needs /proc: %w", err)
	}
	if !strings.Contains(string(kinds), "\toverlay\n") {
		return errors.New("the kernel has no overlay file system; run `modprobe overlay` (CONFIG_OVERLAY_FS)")
	}
	var fs unix.Statfs_t
	if err := os.MkdirAll(d.State, 0o711); err != nil {
		return err
	}
	if err := unix.Statfs(d.State, &fs); err != nil {
		return fmt.Errorf("%s: %w", d.State, err)
	}
	const wanted = 64 << 20
	if free := uint64(fs.Bavail) * uint64(fs.Bsize); free < wanted {
		return fmt.Errorf("%s has %d MiB free and a cluster needs at least %d; free some space", d.State, free>>20, wanted>>20)
	}
	return nil
}
