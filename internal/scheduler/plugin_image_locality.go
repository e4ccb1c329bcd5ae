package scheduler

import "strings"

// Sums of image sizes below the first score nothing; the second is for each
// container and scores all.
const (
	smallImage = 23 << 20
	largeImage = 1000 << 20
)

// imageLocality prefers nodes that have the pod's images. An image counts less
// while few nodes have it, lest they draw all the pods.
func imageLocality() plugin {
	return plugin{
		name:   "ImageLocality",
		weight: 1,
		skipsScore: func(c *class, x *index) bool {
			for _, image := range c.images {
				if x.imageNodes[image] > 0 {
					return false
				}
			}
			return true
		},
		score: func(c *class, n *node, x *index) int64 {
			var sum int64
			for _, image := range c.images {
				if size, ok := n.images[image]; ok {
					sum += int64(float64(size) * (float64(x.imageNodes[image]) / float64(len(x.nodes))))
				}
			}
			large := int64(largeImage * len(c.images))
			sum = min(max(sum, smallImage), large)
			return maxScore * (sum - smallImage) / (large - smallImage)
		},
	}
}

// normalImage gives an image the tag that nodes list it with.
func normalImage(name string) string {
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		return name + ":latest"
	}
	return name
}
