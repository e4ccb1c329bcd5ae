package strategy

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// dropMappings: DRANodeAllocatableResources is alpha.
func dropMappings(s *resourcev1.ResourceSlice) {
	for i := range s.Spec.Devices {
		s.Spec.Devices[i].NodeAllocatableResourceMappings = nil
	}
}

func dynamicResources() map[string]*Strategy {
	return map[string]*Strategy{
		"deviceclasses": specOnly(func(c *resourcev1.DeviceClass) *resourcev1.DeviceClassSpec { return &c.Spec }),
		"resourceclaims": halves(
			func(c *resourcev1.ResourceClaim) *resourcev1.ResourceClaimSpec { return &c.Spec },
			func(c *resourcev1.ResourceClaim) *resourcev1.ResourceClaimStatus { return &c.Status },
			false, nil),
		"resourceslices": with(specOnly(func(s *resourcev1.ResourceSlice) *resourcev1.ResourceSliceSpec { return &s.Spec }), func(s *Strategy) {
			update := s.Update
			first(s, dropMappings)
			s.Update = func(o, was runtime.Object) {
				update(o, was) // which counts mappings as changes
				dropMappings(o.(*resourcev1.ResourceSlice))
			}
		}),
	}
}
