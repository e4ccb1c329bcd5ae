package memory

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 1000}, {1 << 20, 1000}, {8 << 20, 400}, {16 << 20, 200}, {32 << 20, 100}, {64 << 20, 50}, {1 << 30, 50},
	} {
		if got := percent(c.live); got != c.want {
			t.Errorf("with %d bytes in use: %d %%, not %d %%", c.live, got, c.want)
		}
	}
}

func TestRestFollowsWork(t *testing.T) {
	t.Setenv("GOGC", "100") // the test's own process keeps its pace
	c := clocktesting.NewFakeClock(time.Now())
	trimmed := make(chan struct{})
	k := New(Config{Clock: c, Trim: func() { trimmed <- struct{}{} }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()

	for !c.HasWaiters() {
		runtime.Gosched()
	}
	c.Step(quiet)
	<-trimmed // after the start
	if c.HasWaiters() {
		t.Error("a timer runs although nothing was done")
	}
	for range 3 {
		for working := true; working; {
			// Work is what leaves garbage.
			garbage := make([][]byte, 64)
			for i := range garbage {
				garbage[i] = make([]byte, worth/8)
			}
			runtime.KeepAlive(garbage)
			runtime.GC()
			c.Step(quiet)
			select {
			case <-trimmed:
				working = false
			default:
				runtime.Gosched()
			}
		}
	}
	cancel()
	for {
		select {
		case <-trimmed:
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

func TestDropProgram(t *testing.T) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	// Most of a program is code and constants; that it still runs is the test.
	if got := dropProgram(); int64(got) < info.Size()/4 {
		t.Errorf("of %d bytes only %d were dropped", info.Size(), got)
	}
}

func TestReadOnly(t *testing.T) {
	const smaps = `00400000-00600000 r-xp 00000000 fe:00 42                         /usr/bin/my program
Rss:                 100 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00600000-00700000 r--p 00200000 fe:00 42                         /usr/bin/my program
Anonymous:             4 kB
00700000-00800000 rw-p 00300000 fe:00 42                         /usr/bin/my program
Anonymous:             0 kB
00800000-00900000 r--p 00000000 fe:00 43                         /usr/bin/my
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0 
Anonymous:             0 kB
`
	got := readOnly([]byte(smaps), "/usr/bin/my program")
	if len(got) != 1 || got[0] != (mapping{0x400000, 0x600000}) {
		t.Errorf("got %x", got)
	}
}
