// Package cgroup makes the cgroups that hold a pod's containers together: one
// for the quality of service class, one for the pod below it. It writes to
// cgroup v1 or v2, whichever the machine has.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Hierarchy is where the machine keeps its cgroups. The zero value has none,
// and nothing is made in it.
type Hierarchy struct {
	// unified is the mount of cgroup v2 with controllers, or empty.
	unified string
	// v1 mounts by controller.
	v1 map[string]string
	// all mounts, those without controllers included: a runtime makes its
	// containers' cgroups in each of them.
	all []string
}

// Find reads where cgroups are mounted.
func Find() (Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Hierarchy{}, err
	}
	defer f.Close()
	h := Hierarchy{v1: map[string]string{}}
	v2 := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(tail) < 3 {
			continue
		}
		if tail[0] == "cgroup" || tail[0] == "cgroup2" {
			h.all = append(h.all, fields[4])
		}
		switch tail[0] {
		case "cgroup2":
			v2 = fields[4]
		case "cgroup":
			for _, option := range strings.Split(tail[2], ",") {
				switch option {
				case "cpu", "memory", "pids", "cpuacct", "cpuset", "blkio", "freezer", "devices", "hugetlb", "net_cls", "net_prio", "perf_event":
					h.v1[option] = fields[4]
				}
			}
		}
	}
	if _, hybrid := h.v1["memory"]; !hybrid {
		h.unified = v2
	}
	return h, nil
}

// Make makes a pod's cgroup, and those above it, with the given limits.
func (h Hierarchy) Make(path string, r *runtimeapi.LinuxContainerResources) error {
	if h.unified != "" {
		return h.makeUnified(path, r)
	}
	if dir, ok := h.v1["cpu"]; ok {
		dir = filepath.Join(dir, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := write(dir, "cpu.shares", r.CpuShares); err != nil {
			return err
		}
		if r.CpuQuota > 0 {
			if err := write(dir, "cpu.cfs_period_us", r.CpuPeriod); err != nil {
				return err
			}
			if err := write(dir, "cpu.cfs_quota_us", r.CpuQuota); err != nil {
				return err
			}
		}
	}
	if dir, ok := h.v1["memory"]; ok && r.MemoryLimitInBytes > 0 {
		dir = filepath.Join(dir, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return write(dir, "memory.limit_in_bytes", r.MemoryLimitInBytes)
	}
	return nil
}

func (h Hierarchy) makeUnified(path string, r *runtimeapi.LinuxContainerResources) error {
	dir := h.unified
	for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
		if err := delegate(dir); err != nil {
			return err
		}
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := delegate(dir); err != nil {
		return err
	}
	if r.CpuShares > 0 {
		if err := write(dir, "cpu.weight", weight(r.CpuShares)); err != nil {
			return err
		}
	}
	if r.CpuQuota > 0 {
		if err := os.WriteFile(filepath.Join(dir, "cpu.max"), fmt.Appendf(nil, "%d %d", r.CpuQuota, r.CpuPeriod), 0); err != nil {
			return err
		}
	}
	if r.MemoryLimitInBytes > 0 {
		return write(dir, "memory.max", r.MemoryLimitInBytes)
	}
	return nil
}

// delegate hands all controllers on to the cgroups below.
func delegate(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	on, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	active := strings.Fields(string(on))
	for _, c := range strings.Fields(string(have)) {
		if slices.Contains(active, c) {
			continue
		}
		// One that cannot be handed on (cpu beside real-time threads) must not
		// keep the others back.
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil && (c == "memory" || c == "pids") {
			return err
		}
	}
	return nil
}

// weight converts cpu.shares (2 to 262144) to cpu.weight (1 to 10000).
func weight(shares int64) int64 { return 1 + (max(shares, 2)-2)*9999/262142 }

func write(dir, file string, value int64) error {
	return os.WriteFile(filepath.Join(dir, file), strconv.AppendInt(nil, value, 10), 0)
}

// Remove removes a cgroup with those below it, which must be empty. One that
// is not there is fine.
func (h Hierarchy) Remove(path string) error {
	if strings.Trim(path, "/") == "" {
		return errors.New("the root cgroup is not removed")
	}
	var errs []error
	for _, root := range h.all {
		errs = append(errs, remove(filepath.Join(root, path)))
	}
	return errors.Join(errs...)
}

func remove(dir string) error {
	// Mostly there is nothing below.
	err := os.Remove(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	list, rerr := os.ReadDir(dir)
	if rerr != nil {
		return rerr
	}
	for _, e := range list {
		if e.IsDir() {
			if err := remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
