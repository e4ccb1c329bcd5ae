package quota

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestDevices(t *testing.T) {
	claim := &resourcev1.ResourceClaim{Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
		{Name: "a", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gold", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 2}},
		{Name: "b", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "iron", AllocationMode: resourcev1.DeviceAllocationModeAll}},
		{Name: "c", FirstAvailable: []resourcev1.DeviceSubRequest{
			{Name: "x", DeviceClassName: "gold", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 5},
			{Name: "y", DeviceClassName: "gold", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 3},
			{Name: "z", DeviceClassName: "tin", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1},
		}},
	}}}}
	r := schema.GroupResource{Group: "resource.k8s.io", Resource: "resourceclaims"}
	u := Usage(r, claim, claim.CreationTimestamp.Time)
	want := map[corev1.ResourceName]int64{
		"count/resourceclaims.resource.k8s.io": 1, "gold.deviceclass.resource.k8s.io/devices": 7,
		"iron.deviceclass.resource.k8s.io/devices": resourcev1.AllocationResultsMaxSize, "tin.deviceclass.resource.k8s.io/devices": 1,
	}
	for name, n := range want {
		if q := u[name]; q.Value() != n {
			t.Errorf("%s: %v, want %d", name, &q, n)
		}
		if !Concerns(&corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{name: {}}}}, r) {
			t.Errorf("%s is not concerned", name)
		}
	}
	if len(u) != len(want) {
		t.Error(u)
	}
}

func TestClaimScopes(t *testing.T) {
	fast, slow := "fast", "slow"
	plain, moving := &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolumeClaim{}
	moving.Spec.VolumeAttributesClassName, moving.Status.CurrentVolumeAttributesClassName = &fast, &slow
	for _, x := range []struct {
		op            corev1.ScopeSelectorOperator
		values        []string
		plain, moving bool
	}{
		{corev1.ScopeSelectorOpExists, nil, false, true},
		{corev1.ScopeSelectorOpDoesNotExist, nil, true, false},
		{corev1.ScopeSelectorOpIn, []string{"fast"}, false, true},
		{corev1.ScopeSelectorOpIn, []string{"slow", "x"}, false, true},
		{corev1.ScopeSelectorOpIn, []string{"x"}, false, false},
		{corev1.ScopeSelectorOpNotIn, []string{"fast", "slow"}, true, false},
	} {
		q := &corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{ScopeSelector: &corev1.ScopeSelector{
			MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{ScopeName: corev1.ResourceQuotaScopeVolumeAttributesClass, Operator: x.op, Values: x.values}},
		}}}
		if Covers(q, plain) != x.plain || Covers(q, moving) != x.moving || Covers(q, &corev1.Pod{}) {
			t.Errorf("%s %v: covers %v, %v, a pod %v", x.op, x.values, Covers(q, plain), Covers(q, moving), Covers(q, &corev1.Pod{}))
		}
	}
}
