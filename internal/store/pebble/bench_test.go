package pebble

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"clipper/internal/store"
)

var places = []struct {
	name   string
	config func(testing.TB) Config
}{
	{"memory", func(testing.TB) Config { return Config{Memory: true} }},
	{"disk", func(t testing.TB) Config { return Config{Dir: t.TempDir()} }},
}

// BenchmarkCreate and BenchmarkUpdate write values of 1 KiB with some clients
// at once.
func BenchmarkCreate(b *testing.B) { benchWrites(b, false) }
func BenchmarkUpdate(b *testing.B) { benchWrites(b, true) }

func benchWrites(b *testing.B, update bool) {
	value := make([]byte, 1024)
	for i := range value {
		value[i] = byte(i * i)
	}
	for _, p := range places {
		for _, clients := range []int{1, 20, 200} {
			b.Run(fmt.Sprintf("%s/%d", p.name, clients), func(b *testing.B) {
				s := mustOpen(b, p.config(b))
				defer s.Close()
				ctx := context.Background()
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for c := range clients {
					wg.Go(func() {
						key := fmt.Sprintf("/registry/configmaps/default/bench-%d", c)
						var at int64
						for n := 0; left.Add(-1) >= 0; n++ {
							w := store.Write{Key: key, Value: value, Expect: at}
							if !update {
								w.Key, w.Expect = fmt.Sprintf("%s-%d", key, n), 0
							}
							revision, err := s.Apply(ctx, w)
							if err != nil {
								b.Error(err)
								return
							}
							at = revision
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

func BenchmarkConflict(b *testing.B) {
	s := mustOpen(b, Config{Dir: b.TempDir()})
	defer s.Close()
	ctx := context.Background()
	if _, err := s.Apply(ctx, store.Write{Key: "/a", Value: []byte("1")}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Apply(ctx, store.Write{Key: "/a", Value: []byte("1")}); err == nil {
			b.Fatal("no conflict")
		}
	}
}

func BenchmarkRead(b *testing.B) {
	s := mustOpen(b, Config{Memory: true})
	defer s.Close()
	ctx := context.Background()
	value := make([]byte, 1024)
	for n := range 5000 {
		if _, err := s.Apply(ctx, store.Write{Key: fmt.Sprintf("/registry/configmaps/default/c-%05d", n), Value: value}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Get(ctx, "/registry/configmaps/default/c-02500"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list5000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p, err := s.List(ctx, store.Range{Prefix: "/registry/configmaps/"}); err != nil || len(p.Items) != 5000 {
				b.Fatal(len(p.Items), err)
			}
		}
	})
	b.Run("count5000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p, err := s.List(ctx, store.Range{Prefix: "/registry/configmaps/", Limit: 1}); err != nil || p.Remaining != 4999 {
				b.Fatal(p.Remaining, err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c := p.config(b)
				b.StartTimer()
				s := mustOpen(b, c)
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
