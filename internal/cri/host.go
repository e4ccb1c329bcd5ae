package cri

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// host is what this machine and this process's rights allow; it does not change.
type host struct {
	boot         string   // names the boot
	unified      bool     // cgroup v2 alone
	hybrid       bool     // cgroup v1, with a v2 hierarchy beside it
	controllers  []string // v1: the directories of the hierarchies below /sys/fs/cgroup
	swap         bool     // the kernel accounts for swap
	hugetlb      bool
	capabilities map[string]bool // those a container may have at most
	x32          bool            // the kernel runs x32 programs
}

const cgroupRoot = "/sys/fs/cgroup"

func lookAtHost() (*host, error) {
	h := &host{boot: bootID(), capabilities: map[string]bool{}, x32: x32Runs()}
	var fs unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fs); err != nil {
		return nil, fmt.Errorf("cgroups are needed at %s: %w", cgroupRoot, err)
	}
	h.unified = fs.Type == unix.CGROUP2_SUPER_MAGIC
	if h.unified {
		// The root cgroup has no limits; any other tells.
		files, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "memory.swap.max"))
		h.swap = len(files) > 0
		raw, _ := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
		h.hugetlb = strings.Contains(string(raw), "hugetlb")
	} else {
		entries, err := os.ReadDir(cgroupRoot)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			dir := filepath.Join(cgroupRoot, e.Name())
			if e.Type()&os.ModeSymlink != 0 || unix.Statfs(dir, &fs) != nil {
				continue
			}
			switch fs.Type {
			case unix.CGROUP_SUPER_MAGIC:
				h.controllers = append(h.controllers, e.Name())
			case unix.CGROUP2_SUPER_MAGIC:
				h.hybrid = true
			}
		}
		if len(h.controllers) == 0 {
			return nil, fmt.Errorf("no cgroup hierarchy is mounted below %s", cgroupRoot)
		}
		h.swap = fileExists(filepath.Join(cgroupRoot, "memory", "memory.memsw.limit_in_bytes"))
		h.hugetlb = fileExists(filepath.Join(cgroupRoot, "hugetlb"))
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, fmt.Errorf("reading this process's capabilities: %w", err)
	}
	permitted := uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32
	for i, name := range capabilityNames {
		if permitted&(1<<i) != 0 {
			h.capabilities[name] = true
		}
	}
	return h, nil
}

// cgroupDirs are the directories of a cgroup in all hierarchies.
func (h *host) cgroupDirs(path string) []string {
	if h.unified {
		return []string{filepath.Join(cgroupRoot, path)}
	}
	dirs := make([]string, 0, len(h.controllers)+1)
	for _, c := range h.controllers {
		dirs = append(dirs, filepath.Join(cgroupRoot, c, path))
	}
	if h.hybrid {
		dirs = append(dirs, filepath.Join(cgroupRoot, "unified", path))
	}
	return dirs
}

// cgroupDir is the directory of a cgroup in the hierarchy of one controller.
func (h *host) cgroupDir(controller, path string) string {
	if h.unified {
		return filepath.Join(cgroupRoot, path)
	}
	return filepath.Join(cgroupRoot, controller, path)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}
