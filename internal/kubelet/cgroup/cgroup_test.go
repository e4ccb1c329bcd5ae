package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestMakeAndRemove works on the machine's own cgroups, of either version.
func TestMakeAndRemove(t *testing.T) {
	h, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	top := fmt.Sprintf("/kubelet-test-%d", os.Getpid())
	t.Cleanup(func() {
		if err := h.Remove(top); err != nil {
			t.Error(err)
		}
	})
	path := top + "/burstable/podx"
	if err := h.Make(path, &runtimeapi.LinuxContainerResources{CpuShares: 512, CpuPeriod: 100000, CpuQuota: 50000, MemoryLimitInBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if h.unified != "" {
		dir := filepath.Join(h.unified, path)
		want[dir+"/cpu.weight"], want[dir+"/cpu.max"], want[dir+"/memory.max"] = "20", "50000 100000", "67108864"
	} else {
		want[filepath.Join(h.v1["cpu"], path, "cpu.shares")] = "512"
		want[filepath.Join(h.v1["cpu"], path, "cpu.cfs_quota_us")] = "50000"
		want[filepath.Join(h.v1["memory"], path, "memory.limit_in_bytes")] = "67108864"
	}
	for file, value := range want {
		b, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(b)) != value {
			t.Errorf("%s: %q %v, want %s", file, b, err, value)
		}
	}
	if err := h.Make(path, &runtimeapi.LinuxContainerResources{CpuShares: 1024}); err != nil { // again
		t.Error(err)
	}
	// What a runtime makes in the other hierarchies goes as well.
	for _, root := range h.all {
		if err := os.MkdirAll(filepath.Join(root, path, "container"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Remove(top); err != nil {
		t.Fatal(err)
	}
	for _, root := range h.all {
		if _, err := os.Stat(root + top); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left", root+top)
		}
	}
	for file := range want {
		if _, err := os.Stat(filepath.Dir(file)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left", filepath.Dir(file))
		}
	}
	if err := h.Remove(top); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	if err := h.Remove("/"); err == nil {
		t.Error("the root was removed")
	}
}

// TestUnified checks the files of cgroup v2 in a directory that looks like one.
func TestUnified(t *testing.T) {
	root := t.TempDir()
	path := "/kubepods/podx"
	for _, dir := range []string{"", "/kubepods", path} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"cgroup.controllers": "cpu memory pids", "cgroup.subtree_control": "cpu memory pids",
			"cpu.weight": "", "cpu.max": "", "memory.max": ""} {
			if err := os.WriteFile(filepath.Join(root+dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	h := Hierarchy{unified: root}
	if err := h.Make(path, &runtimeapi.LinuxContainerResources{CpuShares: 1024, CpuPeriod: 100000, CpuQuota: 250000, MemoryLimitInBytes: 4096}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"cpu.weight": "39", "cpu.max": "250000 100000", "memory.max": "4096"} {
		if b, _ := os.ReadFile(filepath.Join(root+path, file)); string(b) != want {
			t.Errorf("%s: %s", file, b)
		}
	}
	for shares, want := range map[int64]int64{0: 1, 2: 1, 1024: 39, 262144: 10000} {
		if got := weight(shares); got != want {
			t.Errorf("weight of %d: %d", shares, got)
		}
	}
}
