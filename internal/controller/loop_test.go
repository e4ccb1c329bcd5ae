package controller

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
	"pgregory.net/rapid"
)

func quiet() Config {
	return Config{Clock: clock.RealClock{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// start runs a loop until the test ends.
func start[K comparable](t *testing.T, l *Loop[K]) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
}

// No key is synced twice at once, none that was added is left out, and never
// do more work than may.
func TestLoopSyncsEveryKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		busy := map[int]bool{}
		added, seen := map[int]int{}, map[int]int{}
		l := NewLoop("test", quiet(), 3, func(_ context.Context, k int) error {
			mu.Lock()
			if busy[k] {
				t.Errorf("%d is synced twice at once", k)
			}
			busy[k] = true
			if n := len(busy); n > 3 {
				t.Errorf("%d workers", n)
			}
			seen[k] = added[k]
			mu.Unlock()
			time.Sleep(time.Duration(k+1) * time.Millisecond)
			mu.Lock()
			delete(busy, k)
			mu.Unlock()
			return nil
		})
		for k := range 5 { // before it runs
			mu.Lock()
			added[k]++
			mu.Unlock()
			l.Add(k)
		}
		start(t, l)
		for i := range 1000 {
			mu.Lock()
			added[i%7]++
			mu.Unlock()
			l.Add(i % 7)
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for k, n := range added {
			if seen[k] != n {
				t.Errorf("%d was added %d times, its last sync saw %d", k, n, seen[k])
			}
		}
	})
}

func TestLoopDelaysAndRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		failures := 3
		l := NewLoop("test", quiet(), 1, func(context.Context, string) error {
			at = append(at, time.Since(begin))
			if failures--; failures >= 0 {
				return errors.New("fails")
			}
			return nil
		})
		start(t, l)
		l.AddAfter("k", time.Hour)
		l.AddAfter("k", time.Minute) // the earlier holds
		l.AddAfter("k", 2*time.Minute)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		m := time.Minute
		want := []time.Duration{m, m + 5*time.Millisecond, m + 15*time.Millisecond, m + 35*time.Millisecond}
		if !slices.Equal(at, want) {
			t.Errorf("synced at %v, want %v", at, want)
		}
	})
}

// An idle loop has no goroutine but that of Run.
func TestLoopIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop("test", quiet(), 10, func(context.Context, int) error { return nil })
		start(t, l)
		for k := range 100 {
			l.Add(k)
			l.AddAfter(k, time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.running != 0 || l.timing || len(l.keys) != 0 || l.workers != 10 {
			t.Errorf("%d goroutines, %d keys, %d free workers are left", l.running, len(l.keys), l.workers)
		}
	})
}

func TestDelays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := delays[int]{at: map[int]int{}}
		model := map[int]time.Time{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			if len(model) > 0 && rapid.IntRange(0, 3).Draw(t, "pop") == 0 {
				at := d.next()
				k := d.pop()
				for o, w := range model {
					if w.Before(at) {
						t.Fatalf("%d at %v came before %d at %v", k, at, o, w)
					}
				}
				if !model[k].Equal(at) {
					t.Fatalf("%d came at %v, not %v", k, at, model[k])
				}
				delete(model, k)
				continue
			}
			k := rapid.IntRange(0, 20).Draw(t, "key")
			w := time.Unix(int64(rapid.IntRange(0, 1000).Draw(t, "when")), 0)
			d.set(k, w)
			if old, ok := model[k]; !ok || w.Before(old) {
				model[k] = w
			}
		}
		if d.len() != len(model) {
			t.Fatalf("%d are left, want %d", d.len(), len(model))
		}
	})
}

// A refusal that holds for all is met by few.
func TestSlowStart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 500).Draw(t, "n")
		limit := rapid.IntRange(0, 500).Draw(t, "limit")
		var mu sync.Mutex
		calls, ok := 0, 0
		got, err := SlowStart(n, func(int) error {
			mu.Lock()
			defer mu.Unlock()
			if calls++; ok == limit {
				return errors.New("refused")
			}
			ok++
			return nil
		})
		if got != min(n, limit) || (err != nil) != (n > limit) {
			t.Fatalf("%d of %d succeeded (%v), %d may", got, n, err, limit)
		}
		if refused := calls - ok; refused > 4*limit+1 {
			t.Fatalf("refused %d times after %d successes", refused, ok)
		}
	})
}

func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPending(clock.RealClock{})
		if p.Created("o") != Unrelated || p.Wait("o") != 0 {
			t.Error("something is pending of nothing")
		}
		p.Create("o", 2)
		p.Delete("o", "x")
		if p.Created("o") != More || p.Created("o") != More || p.Deleted("o", "y") != More || p.Deleted("o", "x") != Complete || p.Wait("o") != 0 {
			t.Error("what is pending was not counted right")
		}
		p.Create("o", 3)
		p.Create("o", -2)
		if p.Wait("o") != pendingFor || p.Created("o") != Complete {
			t.Error("what was not made is still pending")
		}
		p.Create("o", 1)
		time.Sleep(pendingFor)
		if p.Wait("o") != 0 {
			t.Error("what no watch ever showed is pending forever")
		}
	})
}
