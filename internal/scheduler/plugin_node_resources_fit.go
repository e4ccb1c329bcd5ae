package scheduler

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

const maxScore = 100

// nodeResourcesFit keeps pods off nodes that lack what they request, and
// prefers nodes with more of CPU and memory left (LeastAllocated).
func nodeResourcesFit() plugin {
	const name = "NodeResourcesFit"
	return plugin{
		name:  name,
		scope: onPods,
		filter: func(c *class, n *node) *failure {
			if fits(&c.load.requests, n) {
				return nil
			}
			reasons, final := lacks(&c.load.requests, n)
			return &failure{name, reasons, final}
		},
		weight: 1,
		score: func(c *class, n *node, _ *index) int64 {
			var sum, of int64
			for _, r := range [...]struct{ want, capacity int64 }{
				{n.scoreCPU + c.load.scoreCPU, n.allocatable.cpu},
				{n.scoreMemory + c.load.scoreMemory, n.allocatable.memory},
			} {
				if r.capacity == 0 {
					continue
				}
				of++
				if r.want <= r.capacity {
					sum += (r.capacity - r.want) * maxScore / r.capacity
				}
			}
			if of == 0 {
				return 0
			}
			return sum / of
		},
	}
}

// short tells whether a request exceeds what is left. Nothing requested is
// always there, on an overcommitted node too.
func short(want, allocatable, requested int64) bool {
	return want > 0 && want > allocatable-requested
}

func fits(want *resources, n *node) bool {
	if n.count+1 > n.maxPods ||
		short(want.cpu, n.allocatable.cpu, n.requested.cpu) ||
		short(want.memory, n.allocatable.memory, n.requested.memory) ||
		short(want.ephemeral, n.allocatable.ephemeral, n.requested.ephemeral) {
		return false
	}
	for name, amount := range want.other {
		if short(amount, n.allocatable.other[name], n.requested.other[name]) {
			return false
		}
	}
	return true
}

// lacks names all that a node has too little of. It is final if the node would
// have too little of something even if it were empty.
func lacks(want *resources, n *node) (reasons []string, final bool) {
	if n.count+1 > n.maxPods {
		reasons = append(reasons, "Too many pods")
	}
	check := func(name v1.ResourceName, want, allocatable, requested int64) {
		if short(want, allocatable, requested) {
			reasons = append(reasons, "Insufficient "+string(name))
			final = final || want > allocatable
		}
	}
	check(v1.ResourceCPU, want.cpu, n.allocatable.cpu, n.requested.cpu)
	check(v1.ResourceMemory, want.memory, n.allocatable.memory, n.requested.memory)
	check(v1.ResourceEphemeralStorage, want.ephemeral, n.allocatable.ephemeral, n.requested.ephemeral)
	var names []v1.ResourceName
	for name := range want.other {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		check(name, want.other[name], n.allocatable.other[name], n.requested.other[name])
	}
	return reasons, final
}
