// Package thread runs functions on threads of their own, for what changes a
// thread for good: entering namespaces or cgroups. Such a thread ends with the
// function, so nothing else of the process is ever there.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs f on a thread that ends when f returns, and returns what f does. A
// goroutine that f starts runs on another thread.
//
// The thread is never the process's first. That one cannot end before the
// process does, and is what others take the process for: /proc/self and
// /proc/PID, with their namespaces, and the process's place among cgroups.
func Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// While this goroutine holds the first thread, the next gets another.
			defer runtime.UnlockOSThread()
			done <- Do(f)
			return
		}
		done <- f() // never unlocked: that is what ends the thread
	}()
	return <-done
}
