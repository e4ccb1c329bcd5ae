package local

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups is where this machine's cgroup hierarchies are mounted: one of v2, or
// one for each controller of v1.
type cgroups struct {
	unified string   // v2's mount with all controllers; "" on v1
	v1      []string // v1's mounts, duplicates left out
	beside  string   // v2's mount beside v1's, where runtimes leave cgroups too
}

// findCgroups returns where this machine's cgroups are.
func findCgroups() (*cgroups, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMounts(f)
}

// readMounts finds the hierarchies in a mountinfo. Which version holds the
// controllers follows from where memory is: beside v1 controllers a cgroup2
// mount holds none that a pod needs, and beside a cgroup2 with controllers a v1
// mount is some other program's (net_cls of a VPN, say).
func readMounts(mountinfo io.Reader) (*cgroups, error) {
	var (
		unified string
		v1      []string
		memory  bool // is v1's
	)
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(tail) < 3 {
			continue
		}
		switch tail[0] {
		case "cgroup":
			v1 = append(v1, fields[4])
			memory = memory || slices.Contains(strings.Split(tail[2], ","), "memory")
		case "cgroup2":
			unified = fields[4]
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("reading the mounts: %w", lines.Err())
	case unified != "" && !memory:
		return &cgroups{unified: unified}, nil
	case len(v1) == 0:
		return nil, errors.New("no cgroup hierarchy is mounted; mount one below /sys/fs/cgroup")
	}
	slices.Sort(v1)
	return &cgroups{v1: slices.Compact(v1), beside: unified}, nil
}

func (cg *cgroups) roots() []string {
	if cg.unified != "" {
		return []string{cg.unified}
	}
	return cg.v1
}

// everywhere returns all hierarchies that may hold something of a cluster.
func (cg *cgroups) everywhere() []string {
	if cg.beside == "" {
		return cg.roots()
	}
	return append([]string{cg.beside}, cg.v1...)
}

// parent is the cgroup that holds every local cluster.
const parent = "clipper"

func (c *Cluster) cgroup() string             { return filepath.Join(parent, c.Name) }
func (c *Cluster) nodeCgroup(n string) string { return filepath.Join(c.cgroup(), n) }

// make creates a cgroup in every hierarchy and hands v2's controllers down to it.
func (cg *cgroups) make(path string) error {
	for _, root := range cg.roots() {
		err := cg.makeBelow(root, path)
		// Another cluster's end may take an empty parent away in between.
		for tries := 0; errors.Is(err, fs.ErrNotExist) && tries < 100; tries++ {
			err = cg.makeBelow(root, path)
		}
		if err != nil {
			return fmt.Errorf("creating a cgroup: %w", err)
		}
	}
	return nil
}

func (cg *cgroups) makeBelow(dir, path string) error {
	cpuset := filepath.Base(dir) == "cpuset"
	for _, part := range strings.Split(path, "/") {
		if cg.unified != "" {
			controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
			if err != nil {
				return err
			}
			for _, name := range strings.Fields(string(controllers)) {
				// A controller that cannot be handed down is one that pods do without.
				_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0)
			}
		}
		up := dir
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if cpuset {
			if err := inheritCpuset(up, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCpuset fills in what a new cpuset of v1 lacks before a task may enter.
func inheritCpuset(from, to string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || strings.TrimSpace(string(have)) != "" {
			continue
		}
		up, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), up, 0); err != nil {
			return fmt.Errorf("filling a cpuset: %w", err)
		}
	}
	return nil
}

// enterThread moves the calling thread into a cgroup of every v1 hierarchy, so
// that what it forks is born there.
func (cg *cgroups) enterThread(path string) error {
	tid := strconv.Itoa(unix.Gettid())
	for _, root := range cg.v1 {
		if err := os.WriteFile(filepath.Join(root, path, "tasks"), []byte(tid), 0); err != nil {
			return fmt.Errorf("entering a cgroup: %w", err)
		}
	}
	return nil
}

// dirs returns all cgroups at and below path, children before parents.
func (cg *cgroups) dirs(path string) []string {
	var all []string
	for _, root := range cg.everywhere() {
		_ = filepath.WalkDir(filepath.Join(root, path), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, p)
			}
			return nil
		})
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(b, a) })
	return all
}

// pids returns every process at and below a cgroup, without those that have
// ended and whose parent has not looked yet.
func (cg *cgroups) pids(path string) []int {
	var pids []int
	for _, dir := range cg.dirs(path) {
		data, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for _, f := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 && !ended(pid) {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// members returns the processes in a part of a node. The runtime moves its
// supervisor out of the server's cgroup only in the hierarchies that matter to
// it, so just one of these tells who belongs where.
func (cg *cgroups) members(path string) []int {
	for _, controller := range []string{"pids", "memory", "systemd"} {
		for _, root := range cg.v1 {
			if filepath.Base(root) == controller {
				return (&cgroups{v1: []string{root}}).pids(path)
			}
		}
	}
	return cg.pids(path)
}

// ended tells whether a process is a zombie or gone. One whose first thread has
// ended shows as a zombie too, but lives, and its cgroup with it, until the last
// of its threads has.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// What counts follows the name, which is in parentheses and may hold some.
	const state, threads = 0, 17 // proc_pid_stat(5), from there
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) <= threads || f[state] != "Z" && f[state] != "X" {
		return false
	}
	n, err := strconv.Atoi(f[threads])
	return err == nil && n <= 1
}

// kill ends every process at and below a cgroup, and waits until they are gone.
func (cg *cgroups) kill(path string) error {
	for range 100 { // what forks faster than it is killed is not ours
		pids := cg.pids(path)
		if len(pids) == 0 {
			return nil
		}
		var fds []unix.PollFd
		for _, pid := range pids {
			// The pidfd is taken before the check, so that a pid that was
			// given to another process meanwhile is not killed.
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue
			}
			if slices.Contains(cg.pids(path), pid) {
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
				fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
			} else {
				unix.Close(fd)
			}
		}
		for i := range fds {
			// A killed process ends at once, unless it hangs in the kernel.
			if n, _ := unix.Poll(fds[i:i+1], 10_000); n == 0 {
				return fmt.Errorf("a process of cgroup %s does not end after SIGKILL", path)
			}
			unix.Close(int(fds[i].Fd))
		}
	}
	return fmt.Errorf("processes of cgroup %s come back faster than they are killed", path)
}

// remove deletes an empty tree of cgroups.
func (cg *cgroups) remove(path string) error {
	for _, dir := range cg.dirs(path) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a cgroup: %w", err)
		}
	}
	return nil
}

// trim removes the parent of all clusters when the last one is gone.
func (cg *cgroups) trim() {
	for _, root := range cg.everywhere() {
		_ = os.Remove(filepath.Join(root, parent))
	}
}
