package pebble

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	clocktesting "k8s.io/utils/clock/testing"

	"clipper/internal/store"
	"clipper/internal/store/storetest"
)

// testTime is where fake clocks begin.
var testTime = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func mustOpen(t testing.TB, c Config) *Store {
	t.Helper()
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	for name, config := range map[string]func(t testing.TB) Config{
		"disk":   func(t testing.TB) Config { return Config{Dir: t.TempDir()} },
		"strict": func(t testing.TB) Config { return Config{Dir: "/store", FS: vfs.NewCrashableMem()} },
		"memory": func(t testing.TB) Config { return Config{Memory: true} },
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t testing.TB) storetest.Backend {
				c := config(t)
				clock := clocktesting.NewFakeClock(testTime)
				c.Clock = clock
				return storetest.Backend{
					Open:     func(t testing.TB) store.Store { return mustOpen(t, c) },
					Outlives: !c.Memory,
					Advance:  clock.Step,
				}
			})
		})
	}
}

// TestToldBeforeAcknowledged: once a watch has started, whoever is told that a
// write is done finds the watch told of it, however much it had missed.
func TestToldBeforeAcknowledged(t *testing.T) {
	for range 100 {
		s := mustOpen(t, Config{Memory: true})
		ctx, cancel := context.WithCancel(t.Context())
		write := func(key string) {
			if _, err := s.Apply(ctx, store.Write{Key: key, Value: []byte("x")}); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
		var beside sync.WaitGroup
		for i := range 4 {
			beside.Go(func() {
				for j := 0; ctx.Err() == nil; j++ {
					write(fmt.Sprintf("/beside/%d/%d", i, j))
				}
			})
		}
		write("/before")
		var mu sync.Mutex
		seen := map[string]bool{}
		started, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- s.Watch(ctx, "/", 1, func() { close(started) }, func(events []store.Event) {
				mu.Lock()
				defer mu.Unlock()
				for _, e := range events {
					seen[e.Key] = true
				}
			})
		}()
		<-started
		write("/after")
		mu.Lock()
		if !seen["/after"] {
			t.Error("a write was acknowledged before the watch was told")
		}
		mu.Unlock()
		cancel()
		beside.Wait()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
