package pebble

import (
	"log/slog"
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
