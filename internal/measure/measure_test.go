package measure_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"clipper/internal/measure"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// What was counted comes out, with all bounds, with some of them, and not at
// all where there is nothing.
func TestHistogram(t *testing.T) {
	took, sizes, none := measure.Seconds([]float64{0.1, 0.5, 1}), measure.Sizes([]float64{10, 100}), measure.Seconds(nil)
	for _, d := range []time.Duration{100 * time.Millisecond, 101 * time.Millisecond, time.Second, time.Minute} {
		took.Took(d)
	}
	sizes.AddMany([]uint64{2, 0, 1}, 1010)
	sizes.Add(11)
	desc := func(name string) *prometheus.Desc { return prometheus.NewDesc(name, "h", []string{"l"}, nil) }
	all, some, bytes, empty, told := desc("all"), desc("some"), desc("bytes"), desc("empty"), desc("told")
	collector := measure.Collector(func(out measure.Out) {
		if !out.Histogram(all, took, "v") || !out.Coarser(some, []float64{0.5}, took, "v") || !out.Histogram(bytes, sizes, "v") || out.Histogram(empty, none, "v") {
			t.Error("which are told is wrong")
		}
		out.Happened(empty, 0, "v")
		out.Always(told, none, "v")
	})
	if err := testutil.CollectAndCompare(collector, strings.NewReader(`
# HELP all h
# TYPE all histogram
all_bucket{l="v",le="0.1"} 1
all_bucket{l="v",le="0.5"} 2
all_bucket{l="v",le="1"} 3
all_bucket{l="v",le="+Inf"} 4
all_sum{l="v"} 61.201
all_count{l="v"} 4
# HELP bytes h
# TYPE bytes histogram
bytes_bucket{l="v",le="10"} 2
bytes_bucket{l="v",le="100"} 3
bytes_bucket{l="v",le="+Inf"} 4
bytes_sum{l="v"} 1021
bytes_count{l="v"} 4
# HELP some h
# TYPE some histogram
some_bucket{l="v",le="0.5"} 2
some_bucket{l="v",le="+Inf"} 4
some_sum{l="v"} 61.201
some_count{l="v"} 4
# HELP told h
# TYPE told histogram
told_bucket{l="v",le="+Inf"} 0
told_sum{l="v"} 0
told_count{l="v"} 0
`)); err != nil {
		t.Error(err)
	}
	if got := measure.Union([]float64{1, 3}, []float64{0.5, 3}); !slices.Equal(got, []float64{0.5, 1, 3}) {
		t.Error(got)
	}
}

// Whoever comes first makes a value, and all count in the same.
func TestSet(t *testing.T) {
	var s measure.Set[int, atomic.Int64]
	var wg sync.WaitGroup
	var made atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			for range 1000 {
				s.Get(i%2, func(int) *atomic.Int64 { made.Add(1); return new(atomic.Int64) }).Add(1)
			}
		})
	}
	wg.Wait()
	all := maps.Collect(s.All())
	if made.Load() != 2 || len(all) != 2 || all[0].Load() != 4000 || all[1].Load() != 4000 {
		t.Error(made.Load(), all)
	}
}

// Counting allocates nothing.
func TestAllocations(t *testing.T) {
	type key struct{ a, b string }
	var s measure.Set[key, measure.Histogram]
	n := testing.AllocsPerRun(100, func() {
		s.Get(key{"a", "b"}, func(key) *measure.Histogram { return measure.Seconds([]float64{1}) }).Took(time.Second)
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The process is told of, again and again.
func TestProcess(t *testing.T) {
	c := measure.Process()
	for range 2 {
		for _, name := range []string{"go_goroutines", "go_gc_heap_allocs_bytes_total", "process_open_fds"} {
			if n := testutil.CollectAndCount(c, name); n != 1 {
				t.Errorf("%s: %d", name, n)
			}
		}
	}
}
