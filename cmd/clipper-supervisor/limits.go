//go:build linux && cgo

package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const oomFile = "/proc/self/oom_score_adj"

// limits knows what this process may give to its children where it lacks
// CAP_SYS_RESOURCE, as inside other containers.
type limits struct {
	powerful bool

	mu     sync.Mutex
	oomMin *int // the lowest oom_score_adj that may be set, once found
}

func newLimits() *limits {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return &limits{powerful: err == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0}
}

// clamp lowers what p asks to what the machine permits, and says so.
func (l *limits) clamp(p *specs.Process) (notes []string) {
	if l.powerful {
		return nil
	}
	if p.OOMScoreAdj != nil {
		if lowest := l.lowestOOM(*p.OOMScoreAdj); lowest > *p.OOMScoreAdj {
			notes = append(notes, fmt.Sprintf("oom_score_adj %d is not permitted without CAP_SYS_RESOURCE; the lowest, %d, is used", *p.OOMScoreAdj, lowest))
			p.OOMScoreAdj = &lowest
		}
	}
	for i := range p.Rlimits {
		r := &p.Rlimits[i]
		kind, ok := rlimits[r.Type]
		var own unix.Rlimit
		if !ok || unix.Prlimit(0, kind, nil, &own) != nil || r.Hard <= own.Max {
			continue
		}
		notes = append(notes, fmt.Sprintf("%s %d is not permitted without CAP_SYS_RESOURCE; the highest, %d, is used", r.Type, r.Hard, own.Max))
		r.Hard, r.Soft = own.Max, min(r.Soft, own.Max)
	}
	return notes
}

// lowestOOM returns want, or the lowest value above it that may be set. The
// kernel does not tell that bound; it is found once, by trying on this process.
func (l *limits) lowestOOM(want int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.oomMin == nil {
		current := readOOM()
		if want >= current {
			return want
		}
		low, high := -1000, current // high is permitted
		for low < high {
			mid := low + (high-low)/2
			if os.WriteFile(oomFile, []byte(strconv.Itoa(mid)), 0) == nil {
				high = mid
			} else {
				low = mid + 1
			}
		}
		os.WriteFile(oomFile, []byte(strconv.Itoa(current)), 0)
		l.oomMin = &high
	}
	return max(want, *l.oomMin)
}

func readOOM() int {
	raw, err := os.ReadFile(oomFile)
	if err != nil {
		return 0
	}
	n := 0
	fmt.Sscan(string(raw), &n)
	return n
}
