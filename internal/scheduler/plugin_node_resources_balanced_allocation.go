package scheduler

import "math"

// nodeResourcesBalancedAllocation prefers nodes of which CPU and memory would
// be used to similar parts.
func nodeResourcesBalancedAllocation() plugin {
	return plugin{
		name:   "NodeResourcesBalancedAllocation",
		scope:  onPods,
		weight: 1,
		skipsScore: func(c *class, _ *index) bool {
			return c.load.requests.cpu == 0 && c.load.requests.memory == 0
		},
		score: func(c *class, n *node, _ *index) int64 {
			var part [2]float64
			of := 0
			for _, r := range [...]struct{ want, capacity int64 }{
				{n.requested.cpu + c.load.requests.cpu, n.allocatable.cpu},
				{n.requested.memory + c.load.requests.memory, n.allocatable.memory},
			} {
				if r.capacity > 0 {
					part[of] = min(float64(r.want)/float64(r.capacity), 1)
					of++
				}
			}
			if of < 2 {
				return maxScore
			}
			// The standard deviation of two is half their distance.
			return int64((1 - math.Abs(part[0]-part[1])/2) * maxScore)
		},
	}
}
