package validate

import (
	"fmt"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// longestDriver is how long a CSI driver's name may be, after CSI's own rule.
const longestDriver = 63

// shortestAllocatable is how often, in seconds, a driver may be asked what a node can take.
const shortestAllocatable = 10

func csiDriverName(e *problems, name string, at *field.Path, child string) {
	if !e.sized(at.Child(child), name, longestDriver) {
		return
	}
	lower := make([]byte, len(name))
	for i := range len(name) {
		lower[i] = name[i]
		if c := name[i]; c >= 'A' && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	e.texts(at.Child(child), name, validation.IsDNS1123Subdomain(string(lower)))
}

var csiDriverRules = &rules{ // never changed
	create: rule(csiDriver),
	update: change(csiDriverUpdate),
	warnings: warning(func(d, _ *storagev1.CSIDriver) []string {
		if len(d.Spec.TokenRequests) == 0 || d.Spec.ServiceAccountTokenInSecrets != nil {
			return nil
		}
		return []string{"spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"}
	}),
}

func csiDriver(e *problems, d *storagev1.CSIDriver) {
	if d.Spec.AttachRequired == nil {
		e.required(specPath.Child("attachedRequired"), "")
	}
	if d.Spec.PodInfoOnMount == nil {
		e.required(specPath.Child("podInfoOnMount"), "")
	}
	if d.Spec.StorageCapacity == nil {
		e.required(specPath.Child("storageCapacity"), "")
	}
	optionalOneOf(e, specPath, "fsGroupPolicy", d.Spec.FSGroupPolicy,
		storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	for i, t := range d.Spec.TokenRequests {
		at := specPath.Child("tokenRequests").Index(i)
		for _, o := range d.Spec.TokenRequests[:i] {
			if o.Audience == t.Audience {
				e.add(field.Duplicate(at.Child("audience"), t.Audience))
			}
		}
		if t.ExpirationSeconds != nil {
			tokenLife(e, t.ExpirationSeconds, at)
		}
	}
	if n := d.Spec.NodeAllocatableUpdatePeriodSeconds; n != nil && *n < shortestAllocatable {
		e.invalid(specPath.Child("nodeAllocatableUpdatePeriodSeconds"), *n, fmt.Sprintf("must be greater than or equal to %d seconds", shortestAllocatable))
	}
	if s := d.Spec.ServiceAccountTokenInSecrets; s != nil && len(d.Spec.TokenRequests) == 0 {
		e.invalid(specPath.Child("serviceAccountTokenInSecrets"), *s, "serviceAccountTokenInSecrets is set but no tokenRequests are specified")
	}
	for _, m := range d.Spec.VolumeLifecycleModes {
		if m != storagev1.VolumeLifecyclePersistent && m != storagev1.VolumeLifecycleEphemeral {
			e.add(field.NotSupported(specPath.Child("volumeLifecycleModes"), m,
				[]storagev1.VolumeLifecycleMode{storagev1.VolumeLifecycleEphemeral, storagev1.VolumeLifecyclePersistent}))
		}
	}
}

func csiDriverUpdate(e *problems, d, old *storagev1.CSIDriver) {
	csiDriver(e, d)
	e.immutable(specPath, "attachedRequired", d.Spec.AttachRequired, sameSpec(d.Spec.AttachRequired, old.Spec.AttachRequired))
	e.immutable(specPath, "volumeLifecycleModes", d.Spec.VolumeLifecycleModes, sameSpec(d.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes))
}

var csiNodeRules = &rules{ // never changed
	create: rule(csiNode),
	update: change(func(e *problems, n, old *storagev1.CSINode) {
		csiNode(e, n)
		for _, d := range n.Spec.Drivers {
			for _, o := range old.Spec.Drivers {
				if o.Name == d.Name && (o.NodeID != d.NodeID || !slices.Equal(o.TopologyKeys, d.TopologyKeys)) {
					e.immutable(specPath, "drivers", n.Spec.Drivers, false)
				}
			}
		}
	}),
}

// longestNodeID is how long the name may be that a driver has for a node.
const longestNodeID = 256

func csiNode(e *problems, n *storagev1.CSINode) {
	for i, d := range n.Spec.Drivers {
		at := specPath.Child("drivers").Index(i)
		csiDriverName(e, d.Name, at, "name")
		if e.given(at, "nodeID", d.NodeID) && len(d.NodeID) > longestNodeID {
			e.invalid(at.Child("nodeID"), d.NodeID, fmt.Sprintf("must be %d characters or less", longestNodeID))
		}
		if a := d.Allocatable; a != nil && a.Count != nil {
			e.notNegative(at.Child("allocatable"), "count", int64(*a.Count))
		}
		for j, k := range d.TopologyKeys {
			if k == "" {
				e.required(at, "")
			}
			e.texts(at, k, validation.IsQualifiedName(k))
			for _, o := range d.TopologyKeys[:j] {
				if o == k {
					e.add(field.Duplicate(at, k))
				}
			}
		}
		for _, o := range n.Spec.Drivers[:i] {
			if o.Name == d.Name {
				e.add(field.Duplicate(at.Child("name"), d.Name))
			}
		}
	}
}
