// Package cgroup finds, and ends, what runs in the cgroups that clipper makes.
// Paths are below clipper's own cgroup, such as "NAME/NODE/server".
package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Folders returns a cgroup's folder in every hierarchy that has it.
func Folders(path string) []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/clipper/" + path)
	v2, _ := filepath.Glob("/sys/fs/cgroup/clipper/" + path)
	return append(v1, v2...)
}

// Processes returns those in a cgroup and below.
func Processes(path string) []int {
	var all []int
	// One hierarchy of v1 is enough, and just this one tells the server from
	// the supervisor that it started.
	for _, top := range []string{"/sys/fs/cgroup/pids/clipper/", "/sys/fs/cgroup/clipper/"} {
		_ = filepath.WalkDir(top+path, func(p string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			data, _ := os.ReadFile(filepath.Join(p, "cgroup.procs"))
			for _, f := range strings.Fields(string(data)) {
				if pid, err := strconv.Atoi(f); err == nil {
					all = append(all, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Kill ends all processes in a cgroup and below, at once, and returns how many
// there were.
func Kill(t testing.TB, path string) (n int) {
	t.Helper()
	for pids := Processes(path); len(pids) > 0; pids = Processes(path) {
		for _, pid := range pids {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue
			}
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			if ended, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); ended == 0 {
				t.Fatalf("process %d does not end after SIGKILL", pid)
			}
			unix.Close(fd)
			n++
		}
	}
	return n
}

// Remove ends a cgroup with all that runs in it.
func Remove(t testing.TB, path string) {
	t.Helper()
	Kill(t, path)
	for _, top := range Folders(path) {
		var dirs []string
		_ = filepath.WalkDir(top, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) { // children before parents
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	}
}
