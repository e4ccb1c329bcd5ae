package quota

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// deviceSuffix stands after the name of a DeviceClass of which devices are
// counted (KEP-4840).
const deviceSuffix = ".deviceclass.resource.k8s.io/devices"

// deviceUsage is what a claim of devices may come to: of alternatives the one
// that takes most, and of all that there are the most that a claim may hold.
func deviceUsage(u corev1.ResourceList, c *resourcev1.ResourceClaim) {
	devices := map[string]int64{}
	amount := func(mode resourcev1.DeviceAllocationMode, count int64) int64 {
		if mode == resourcev1.DeviceAllocationModeAll {
			return resourcev1.AllocationResultsMaxSize
		}
		return count
	}
	for i := range c.Spec.Devices.Requests {
		r := &c.Spec.Devices.Requests[i]
		if r.Exactly != nil {
			devices[r.Exactly.DeviceClassName] += amount(r.Exactly.AllocationMode, r.Exactly.Count)
			continue
		}
		most := map[string]int64{}
		for j := range r.FirstAvailable {
			s := &r.FirstAvailable[j]
			most[s.DeviceClassName] = max(most[s.DeviceClassName], amount(s.AllocationMode, s.Count))
		}
		for class, n := range most {
			devices[class] += n
		}
	}
	for class, n := range devices {
		u[corev1.ResourceName(class+deviceSuffix)] = *resource.NewQuantity(n, resource.DecimalSI)
	}
}

// claimInScope tells whether a claim is of a VolumeAttributesClass as a scope
// asks (KEP-3751): the one it is to have, the one it has, or the one on its way.
func claimInScope(c *corev1.PersistentVolumeClaim, r corev1.ScopedResourceSelectorRequirement) bool {
	if r.ScopeName != corev1.ResourceQuotaScopeVolumeAttributesClass {
		return false
	}
	var classes []string
	for _, name := range []*string{c.Spec.VolumeAttributesClassName, c.Status.CurrentVolumeAttributesClassName} {
		if name != nil && *name != "" {
			classes = append(classes, *name)
		}
	}
	if s := c.Status.ModifyVolumeStatus; s != nil && s.TargetVolumeAttributesClassName != "" {
		classes = append(classes, s.TargetVolumeAttributesClassName)
	}
	named := func(class string) bool { return slices.Contains(r.Values, class) }
	switch r.Operator {
	case corev1.ScopeSelectorOpExists:
		return len(classes) > 0
	case corev1.ScopeSelectorOpDoesNotExist:
		return len(classes) == 0
	case corev1.ScopeSelectorOpIn:
		return slices.ContainsFunc(classes, named)
	case corev1.ScopeSelectorOpNotIn:
		return len(classes) == 0 || slices.ContainsFunc(classes, func(class string) bool { return !named(class) })
	}
	return false
}
