package measure

import (
	"slices"
	"sync/atomic"
	"time"
)

// Histogram counts values by size. What it counts are whole numbers: durations
// in nanoseconds, or bytes, or how many of something.
type Histogram struct {
	scale  float64 // of what is counted, to the unit of the bounds
	bounds []float64
	counts []atomic.Uint64 // one more than bounds
	sum    atomic.Int64
}

// Seconds returns a histogram of durations, whose bounds are in seconds.
func Seconds(bounds []float64) *Histogram { return newHistogram(bounds, float64(time.Second)) }

// Sizes returns a histogram of numbers, such as bytes.
func Sizes(bounds []float64) *Histogram { return newHistogram(bounds, 1) }

func newHistogram(bounds []float64, scale float64) *Histogram {
	return &Histogram{scale: scale, bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Bucket returns which of the bounds a value is within, or their number if it
// is beyond all.
func Bucket(bounds []float64, v float64) int {
	i := 0
	for i < len(bounds) && v > bounds[i] {
		i++
	}
	return i
}

// Took counts a duration.
func (h *Histogram) Took(d time.Duration) { h.Add(int64(d)) }

// Add counts a value.
func (h *Histogram) Add(n int64) {
	h.counts[Bucket(h.bounds, float64(n)/h.scale)].Add(1)
	h.sum.Add(n)
}

// AddMany counts values that were gathered: how many are in which bucket, and
// what they are together.
func (h *Histogram) AddMany(buckets []uint64, sum int64) {
	for i, n := range buckets {
		if n > 0 {
			h.counts[i].Add(n)
		}
	}
	h.sum.Add(sum)
}

// Count returns how many values were counted.
func (h *Histogram) Count() (n uint64) {
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// within returns how many values are within each of the bounds, cumulated, how
// many there are, and their sum in the unit of the bounds.
func (h *Histogram) within(bounds []float64) (cumulative map[float64]uint64, n uint64, sum float64) {
	cumulative = make(map[float64]uint64, len(bounds))
	for i, b := range h.bounds {
		n += h.counts[i].Load()
		if slices.Contains(bounds, b) {
			cumulative[b] = n
		}
	}
	n += h.counts[len(h.bounds)].Load()
	return cumulative, n, float64(h.sum.Load()) / h.scale
}

// Together returns what several histograms of the same bounds counted.
func Together(all ...*Histogram) *Histogram {
	sum := newHistogram(all[0].bounds, all[0].scale)
	for _, h := range all {
		for i := range h.counts {
			sum.counts[i].Add(h.counts[i].Load())
		}
		sum.sum.Add(h.sum.Load())
	}
	return sum
}

// Union returns the bounds of a histogram that several metrics are made of, each
// with bounds of its own.
func Union(bounds ...[]float64) []float64 {
	all := slices.Concat(bounds...)
	slices.Sort(all)
	return slices.Compact(all)
}
