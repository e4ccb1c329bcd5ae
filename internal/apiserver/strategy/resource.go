package strategy

import resourcev1 "k8s.io/api/resource/v1"

func dynamicResources() map[string]*Strategy {
	return map[string]*Strategy{
		"deviceclasses": specOnly(func(c *resourcev1.DeviceClass) *resourcev1.DeviceClassSpec { return &c.Spec }),
		"resourceclaims": halves(
			func(c *resourcev1.ResourceClaim) *resourcev1.ResourceClaimSpec { return &c.Spec },
			func(c *resourcev1.ResourceClaim) *resourcev1.ResourceClaimStatus { return &c.Status },
			false, nil),
		"resourceslices": specOnly(func(s *resourcev1.ResourceSlice) *resourcev1.ResourceSliceSpec { return &s.Spec }),
	}
}
