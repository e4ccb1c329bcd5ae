package node

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// Pressure says when the node reports that it runs out of something.
type Pressure struct {
	// Memory that must be available, in bytes; default 100 MiB as upstream's.
	Memory int64
	// Disk that must be available, in percent of the file systems that hold
	// RootDir and LogDir; default 1. (Upstream's 10 would keep pods off many a
	// developer's machine.)
	Disk float64
}

// pressureFor is how long a pressure is reported after it was last seen, so
// that pods do not come and go with it.
const pressureFor = 5 * time.Minute

// pressed returns the conditions under which the node suffers now, or did
// lately. It is called from one goroutine.
func (n *Node) pressed() map[v1.NodeConditionType]bool {
	now := n.Clock.Now()
	if available := available(); available >= 0 && available < n.Pressure.Memory {
		n.pressure[v1.NodeMemoryPressure] = now
	}
	for _, dir := range [...]string{n.RootDir, n.LogDir} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Blocks > 0 && float64(st.Bavail)/float64(st.Blocks)*100 < n.Pressure.Disk {
			n.pressure[v1.NodeDiskPressure] = now
		}
	}
	out := map[v1.NodeConditionType]bool{}
	for kind, at := range n.pressure {
		out[kind] = now.Sub(at) < pressureFor
	}
	return out
}

// available memory in bytes, or -1.
func available() int64 {
	v, ok := Pairs("/proc/meminfo", ":")["MemAvailable"]
	if !ok {
		return -1
	}
	kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
	if err != nil {
		return -1
	}
	return kb << 10
}
