//go:build linux && cgo

package main

import (
	"os"
	"os/signal"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reaper collects the orphans that come to this process, and leaves alone the
// children that somebody here waits for.
type reaper struct {
	// starts is held (shared) while children come to be whose PIDs are not yet
	// known; orphans are only collected when nothing starts.
	starts sync.RWMutex
	again  chan os.Signal

	mu  sync.Mutex
	own map[int]struct{}
}

func newReaper() *reaper {
	r := &reaper{again: make(chan os.Signal, 1), own: map[int]struct{}{}}
	signal.Notify(r.again, unix.SIGCHLD)
	go func() {
		for range r.again {
			r.collect()
		}
	}()
	return r
}

// start runs f, which makes a child and returns its PID, or 0 if none came.
func (r *reaper) start(f func() (pid int, err error)) error {
	r.starts.RLock()
	pid, err := f()
	if pid > 0 {
		r.mu.Lock()
		r.own[pid] = struct{}{}
		r.mu.Unlock()
	}
	r.starts.RUnlock()
	r.poke()
	return err
}

// reaped says that a child made by start has been waited for.
func (r *reaper) reaped(pid int) {
	r.mu.Lock()
	delete(r.own, pid)
	r.mu.Unlock()
	r.poke()
}

func (r *reaper) poke() {
	select {
	case r.again <- unix.SIGCHLD:
	default:
	}
}

func (r *reaper) collect() {
	if !r.starts.TryLock() {
		return // the end of the start calls again
	}
	defer r.starts.Unlock()
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
			return
		}
		pid := siginfoPID(&info)
		if pid == 0 {
			return
		}
		r.mu.Lock()
		_, own := r.own[pid]
		r.mu.Unlock()
		if own {
			return // whoever waits for it calls reaped, and that calls again
		}
		unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// siginfoPID reads si_pid, which follows three ints at the next pointer's bound.
func siginfoPID(info *unix.Siginfo) int {
	offset := (3*unsafe.Sizeof(int32(0)) + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}
