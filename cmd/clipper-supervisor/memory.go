//go:build linux && cgo

package main

import (
	"crypto/sha256"
	"encoding/json"
	"runtime/debug"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// filters keeps each distinct seccomp filter once: nearly all containers have
// the same, and it is most of what is kept of one.
type filters struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]*configs.Seccomp
}

// same returns the filter that was made of the same specification before, or
// the given one.
func (f *filters) same(linux *specs.Linux, made *configs.Seccomp) *configs.Seccomp {
	if linux == nil || linux.Seccomp == nil || made == nil {
		return made
	}
	raw, err := json.Marshal(linux.Seccomp)
	if err != nil {
		return made
	}
	sum := sha256.Sum256(raw)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = map[[sha256.Size]byte]*configs.Seccomp{}
	}
	if known := f.known[sum]; known != nil {
		return known
	}
	f.known[sum] = made
	return made
}

// quietAfter is how long after the last work memory is given back.
const quietAfter = 3 * time.Second

// quiet gives memory back to the system once, after work.
type quiet struct{ timer *time.Timer }

func newQuiet() *quiet {
	return &quiet{timer: time.AfterFunc(quietAfter, debug.FreeOSMemory)}
}

// touch says that there was work.
func (q *quiet) touch() { q.timer.Reset(quietAfter) }
