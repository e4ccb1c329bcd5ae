package controller

import "time"

// delays is a heap of keys by deadline, with one deadline a key.
type delays[K comparable] struct {
	heap []deadline[K]
	at   map[K]int // places in heap
}

type deadline[K comparable] struct {
	key  K
	when time.Time
}

func (d *delays[K]) len() int        { return len(d.heap) }
func (d *delays[K]) next() time.Time { return d.heap[0].when }

// set gives k the deadline unless it has an earlier one, and tells whether it
// became the next of all.
func (d *delays[K]) set(k K, when time.Time) bool {
	i, ok := d.at[k]
	switch {
	case !ok:
		i = len(d.heap)
		d.heap = append(d.heap, deadline[K]{k, when})
		d.at[k] = i
	case when.Before(d.heap[i].when):
		d.heap[i].when = when
	default:
		return false
	}
	d.up(i)
	return d.at[k] == 0
}

// pop takes the key of the next deadline.
func (d *delays[K]) pop() K {
	k, last := d.heap[0].key, len(d.heap)-1
	d.swap(0, last)
	d.heap[last] = deadline[K]{}
	d.heap = d.heap[:last]
	delete(d.at, k)
	d.down(0)
	return k
}

func (d *delays[K]) swap(i, j int) {
	d.heap[i], d.heap[j] = d.heap[j], d.heap[i]
	d.at[d.heap[i].key], d.at[d.heap[j].key] = i, j
}

func (d *delays[K]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !d.heap[i].when.Before(d.heap[parent].when) {
			return
		}
		d.swap(i, parent)
		i = parent
	}
}

func (d *delays[K]) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(d.heap) {
			return
		}
		if c+1 < len(d.heap) && d.heap[c+1].when.Before(d.heap[c].when) {
			c++
		}
		if !d.heap[c].when.Before(d.heap[i].when) {
			return
		}
		d.swap(i, c)
		i = c
	}
}
