package scheduler

import (
	"math/rand/v2"
	"slices"
)

// maxScaled bounds the plugins whose scores are scaled by the highest one.
const maxScaled = 4

// ranking is what is known of each node for the pods of one class. It follows
// the index: only nodes that changed since are looked at again.
//
// As upstream, not all nodes of a large cluster are looked at for the first
// pod of a class; but what was found is kept, and some more nodes are looked
// at with each further pod, until all are known.
type ranking struct {
	class *class

	// The state of the index that the entries are of.
	set, imageSet, seen uint64
	stale               bool // the entries are of another class

	start, known int // entries from start on, around the end, are known
	entries      []entry
	heap         []int32 // positions of the nodes that fit, best first
	top          [maxScaled]int64
	topStale     bool
	text         string // of why no node fits, at textOf
	textOf       uint64

	static, dynamic             []*plugin // filters
	fixed, scaled, dynamicScore []*plugin // scores
}

// entry is one node as the class sees it.
type entry struct {
	node   *node
	static uint64 // node.static that the first part is of
	never  *failure
	raw    [maxScaled]int64
	fixed  int64

	failure *failure
	dynamic int64
	score   int64
	tie     uint32
	pos     int32 // in the heap, or -1
}

// findEnough is how many nodes that fit are enough to choose from: upstream's
// rule (percentageOfNodesToScore 0).
func findEnough(nodes int) int {
	const fewest = 100
	if nodes < fewest {
		return nodes
	}
	percent := max(50-nodes/125, 5)
	return max(nodes*percent/100, fewest)
}

// lookFurther is how many more nodes each further pod of a class looks at.
const lookFurther = 32

// hand gives the ranking's room to another class.
func (r *ranking) hand(c *class) {
	r.class.ranking, c.ranking = nil, r
	r.class, r.stale, r.text = c, true, ""
}

func (r *ranking) reset(x *index, plugins []plugin, rng *rand.Rand) {
	c := r.class
	r.set, r.imageSet, r.seen, r.stale = x.set, x.imageSet, x.generation, false
	r.known, r.heap, r.topStale = 0, r.heap[:0], false
	r.top = [maxScaled]int64{}
	r.start = 0
	if len(x.nodes) > 0 {
		r.start = rng.IntN(len(x.nodes))
	}
	r.entries = slices.Grow(r.entries[:0], len(x.nodes))[:len(x.nodes)]
	clear(r.entries)
	r.static, r.dynamic, r.fixed, r.scaled, r.dynamicScore = nil, nil, nil, nil, nil
	for i := range plugins {
		p := &plugins[i]
		if p.filter != nil && (p.skipsFilter == nil || !p.skipsFilter(c)) {
			if p.scope == onNode {
				r.static = append(r.static, p)
			} else {
				r.dynamic = append(r.dynamic, p)
			}
		}
		if p.score == nil || p.skipsScore != nil && p.skipsScore(c, x) {
			continue
		}
		switch {
		case p.scope != onNode:
			r.dynamicScore = append(r.dynamicScore, p)
		case p.scale == asIs:
			r.fixed = append(r.fixed, p)
		default:
			r.scaled = append(r.scaled, p)
		}
	}
}

// follow brings what is known up to date.
func (r *ranking) follow(x *index, plugins []plugin, rng *rand.Rand) {
	if r.stale || r.entries == nil || r.set != x.set || r.imageSet != x.imageSet {
		r.reset(x, plugins, rng)
		return
	}
	for n := x.newest; n != nil && n.generation > r.seen; n = n.older {
		if n.obj != nil && r.entries[n.pos].node != nil {
			r.look(x, n, rng)
		}
	}
	r.seen = x.generation
	r.rescale()
}

// best returns the node that the class's next pod should go to, or nil if it
// fits none; then all nodes are known.
func (r *ranking) best(x *index, plugins []plugin, rng *rand.Rand) *node {
	r.follow(x, plugins, rng)
	for limit := r.known + lookFurther; r.known < len(x.nodes) && (r.known < limit || len(r.heap) < findEnough(len(x.nodes))); {
		r.look(x, x.nodes[(r.start+r.known)%len(x.nodes)], rng)
		r.known++
	}
	r.rescale()
	if len(r.heap) == 0 {
		return nil
	}
	return r.entries[r.heap[0]].node
}

// look evaluates one node and puts it into its place.
func (r *ranking) look(x *index, n *node, rng *rand.Rand) {
	e := &r.entries[n.pos]
	if e.node == nil {
		e.node, e.pos = n, -1
	}
	wasIn, raw := e.pos >= 0, e.raw
	r.evaluate(x, e)
	if e.failure != nil {
		if wasIn {
			r.out(e)
			r.noteGone(&raw)
		}
		return
	}
	if wasIn && raw != e.raw {
		r.noteGone(&raw)
	}
	for i := range r.scaled {
		if e.raw[i] > r.top[i] {
			r.topStale = true
		}
	}
	e.score = r.total(e)
	// Nodes of one score are chosen among by chance.
	e.tie = rng.Uint32()
	if wasIn {
		r.fix(int(e.pos))
		return
	}
	e.pos = int32(len(r.heap))
	r.heap = append(r.heap, int32(n.pos))
	r.up(int(e.pos))
}

func (r *ranking) evaluate(x *index, e *entry) {
	c, n := r.class, e.node
	if e.static != n.static {
		e.static = n.static
		e.never = first(r.static, c, n)
		e.fixed = 0
		if e.never == nil {
			for _, p := range r.fixed {
				e.fixed += p.weight * p.score(c, n, x)
			}
			for i, p := range r.scaled {
				e.raw[i] = p.score(c, n, x)
			}
		}
	}
	if e.failure = e.never; e.failure == nil {
		e.failure = first(r.dynamic, c, n)
	}
	if e.failure != nil {
		return
	}
	e.dynamic = 0
	for _, p := range r.dynamicScore {
		e.dynamic += p.weight * p.score(c, n, x)
	}
}

// first returns the first failure of the filters.
func first(filters []*plugin, c *class, n *node) *failure {
	for _, p := range filters {
		if f := p.filter(c, n); f != nil {
			return f
		}
	}
	return nil
}

func (r *ranking) total(e *entry) int64 {
	sum := e.fixed + e.dynamic
	for i, p := range r.scaled {
		sum += p.weight * scaledScore(p.scale, e.raw[i], r.top[i])
	}
	return sum
}

func scaledScore(s scale, raw, top int64) int64 {
	score := raw
	if top > 0 {
		score = raw * maxScore / top
	}
	if s == reverse {
		return maxScore - score
	}
	return score
}

// noteGone remembers that one of the highest may be gone.
func (r *ranking) noteGone(raw *[maxScaled]int64) {
	for i := range r.scaled {
		if raw[i] > 0 && raw[i] == r.top[i] {
			r.topStale = true
		}
	}
}

// rescale counts all scores anew if the highest of a scaled one has changed.
func (r *ranking) rescale() {
	if !r.topStale {
		return
	}
	r.topStale = false
	var top [maxScaled]int64
	for _, pos := range r.heap {
		for i := range r.scaled {
			top[i] = max(top[i], r.entries[pos].raw[i])
		}
	}
	if top == r.top {
		return
	}
	r.top = top
	for _, pos := range r.heap {
		r.entries[pos].score = r.total(&r.entries[pos])
	}
	for i := len(r.heap)/2 - 1; i >= 0; i-- {
		r.down(i)
	}
}

// The heap is a binary one that knows where each entry is.

func (r *ranking) before(a, b int32) bool {
	x, y := &r.entries[a], &r.entries[b]
	if x.score != y.score {
		return x.score > y.score
	}
	return x.tie > y.tie
}

func (r *ranking) swap(i, j int) {
	h := r.heap
	h[i], h[j] = h[j], h[i]
	r.entries[h[i]].pos, r.entries[h[j]].pos = int32(i), int32(j)
}

func (r *ranking) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !r.before(r.heap[i], r.heap[parent]) {
			return
		}
		r.swap(i, parent)
		i = parent
	}
}

func (r *ranking) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(r.heap) {
			return
		}
		if right := child + 1; right < len(r.heap) && r.before(r.heap[right], r.heap[child]) {
			child = right
		}
		if !r.before(r.heap[child], r.heap[i]) {
			return
		}
		r.swap(i, child)
		i = child
	}
}

func (r *ranking) fix(i int) {
	r.up(i)
	r.down(i)
}

func (r *ranking) out(e *entry) {
	i, last := int(e.pos), len(r.heap)-1
	r.swap(i, last)
	r.heap = r.heap[:last]
	e.pos = -1
	if i < last {
		r.fix(i)
	}
}
