package node

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what the node is made of. It does not change while the agent runs.
type Machine struct {
	CPUs            int64
	Memory          int64 // bytes
	Disk            int64 // bytes of the file system that holds RootDir
	HugePages       map[string]int64
	Kernel, OSImage string
	MachineID       string
	SystemUUID      string
	BootID          string
	Swap            int64
	// Unified: the cgroups are of version 2.
	Unified  bool
	AppArmor bool
}

// ReadMachine looks at the machine; root is on the disk that counts as its own.
func ReadMachine(root string) Machine {
	m := Machine{
		CPUs:      int64(runtime.NumCPU()),
		OSImage:   "Linux",
		MachineID: line("/etc/machine-id"),
		BootID:    line("/proc/sys/kernel/random/boot_id"),
		HugePages: map[string]int64{},
	}
	m.SystemUUID = line("/sys/class/dmi/id/product_uuid")
	if m.SystemUUID == "" {
		m.SystemUUID = m.MachineID
	}
	m.Kernel = line("/proc/sys/kernel/osrelease")
	for key, value := range Pairs("/proc/meminfo", ":") {
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch key {
		case "MemTotal":
			m.Memory = kb << 10
		case "SwapTotal":
			m.Swap = kb << 10
		}
	}
	if name := strings.Trim(Pairs("/etc/os-release", "=")["PRETTY_NAME"], `"`); name != "" {
		m.OSImage = name
	}
	var st unix.Statfs_t
	if unix.Statfs(root, &st) == nil {
		m.Disk = int64(st.Blocks) * st.Bsize
	}
	m.Unified = unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
	m.AppArmor = line("/sys/module/apparmor/parameters/enabled") == "Y"
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
		m.HugePages[size] = count * kb << 10
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

// Pairs reads a file of lines of a key, a separator and a value; one that cannot
// be read has none.
func Pairs(path, sep string) map[string]string {
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
