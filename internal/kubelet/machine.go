package kubelet

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what the node is made of. It does not change while the agent runs.
type machine struct {
	cpus            int64
	memory          int64 // bytes
	disk            int64 // bytes of the file system that holds RootDir
	hugePages       map[string]int64
	kernel, osImage string
	machineID       string
	systemUUID      string
	bootID          string
	swap            int64
	unified         bool
}

func readMachine(root string) machine {
	m := machine{
		cpus:      int64(runtime.NumCPU()),
		osImage:   "Linux",
		machineID: line("/etc/machine-id"),
		bootID:    line("/proc/sys/kernel/random/boot_id"),
		hugePages: map[string]int64{},
	}
	m.systemUUID = line("/sys/class/dmi/id/product_uuid")
	if m.systemUUID == "" {
		m.systemUUID = m.machineID
	}
	m.kernel = line("/proc/sys/kernel/osrelease")
	for key, value := range pairs("/proc/meminfo", ":") {
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch key {
		case "MemTotal":
			m.memory = kb << 10
		case "SwapTotal":
			m.swap = kb << 10
		}
	}
	if name := strings.Trim(pairs("/etc/os-release", "=")["PRETTY_NAME"], `"`); name != "" {
		m.osImage = name
	}
	var st unix.Statfs_t
	if unix.Statfs(root, &st) == nil {
		m.disk = int64(st.Blocks) * st.Bsize
	}
	m.unified = unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
	dirs, _ := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-*kB")
	for _, dir := range dirs {
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(dir), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		count, _ := strconv.ParseInt(line(filepath.Join(dir, "nr_hugepages")), 10, 64)
		size := strconv.FormatInt(kb>>10, 10) + "Mi"
		if kb>>20 > 0 {
			size = strconv.FormatInt(kb>>20, 10) + "Gi"
		}
		m.hugePages[size] = count * kb << 10
	}
	return m
}

// line returns a file's first line, or nothing.
func line(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(first)
}

func pairs(path, sep string) map[string]string {
	out := map[string]string{}
	f, err := os.Open(path)
	if err != nil {
		return out
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), sep); ok {
			out[k] = v
		}
	}
	return out
}
