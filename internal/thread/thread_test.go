package thread

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func netns(t *testing.T, who string) string {
	t.Helper()
	link, err := os.Readlink("/proc/" + who + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// TestNamespaces: what a function does to its thread is seen nowhere else,
// however many run at once.
func TestNamespaces(t *testing.T) {
	before := netns(t, "self")
	for range 50 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				err := Do(func() error {
					if unix.Gettid() == unix.Getpid() {
						return errors.New("this is the first thread")
					}
					return unix.Unshare(unix.CLONE_NEWNET)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if now := netns(t, "self"); now != before {
		t.Errorf("the process was in %s and is in %s", before, now)
	}
	for range 100 {
		runtime.Gosched()
		if now := netns(t, "thread-self"); now != before {
			t.Fatalf("a thread of others is in %s, not in %s", now, before)
		}
	}
}

// TestFirst: called from the first thread itself, it takes another.
func TestFirst(t *testing.T) {
	tids := make(chan int, 64)
	var wg sync.WaitGroup
	for range cap(tids) { // as many at once, so that each has a thread
		wg.Go(func() {
			_ = Do(func() error { tids <- unix.Gettid(); return nil })
		})
	}
	wg.Wait()
	close(tids)
	for tid := range tids {
		if tid == unix.Getpid() {
			t.Error("the first thread was taken")
		}
	}
}

// TestGoroutines: a goroutine that f starts is not where f is.
func TestGoroutines(t *testing.T) {
	before := netns(t, "self")
	err := Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		there := make(chan string)
		go func() {
			link, err := os.Readlink("/proc/thread-self/ns/net")
			there <- fmt.Sprint(link, err)
		}()
		if got := <-there; got != before+"<nil>" {
			return fmt.Errorf("a goroutine runs in %s, not in %s", got, before)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestError(t *testing.T) {
	want := errors.New("no")
	if err := Do(func() error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
}
