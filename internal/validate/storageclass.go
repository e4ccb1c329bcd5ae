package validate

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a class may tell a provisioner.
const (
	mostParameters    = 512
	longestParameters = 256 << 10
)

var storageClassRules = &rules{ // never changed
	create: rule(storageClass),
	update: change(storageClassUpdate),
}

func storageClass(e *problems, c *storagev1.StorageClass) {
	if e.given(nil, "provisioner", c.Provisioner) {
		e.check(nil, "provisioner", strings.ToLower(c.Provisioner), provisionerName)
	}
	parameters(e, c.Parameters)
	if p := c.ReclaimPolicy; p != nil && *p != "" {
		oneOf(e, nil, "reclaimPolicy", *p, corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain)
	}
	if c.VolumeBindingMode == nil {
		e.required(field.NewPath("volumeBindingMode"), "")
	} else {
		oneOf(e, nil, "volumeBindingMode", *c.VolumeBindingMode, storagev1.VolumeBindingImmediate, storagev1.VolumeBindingWaitForFirstConsumer)
	}
	topologies(e, c.AllowedTopologies)
}

// topologies are where a class makes volumes: terms that differ, each of
// different keys.
func topologies(e *problems, terms []corev1.TopologySelectorTerm) {
	var before []map[string][]string
	for i, t := range terms {
		keys := map[string][]string{}
		for j, x := range t.MatchLabelExpressions {
			at := field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions").Index(j)
			e.check(at, "key", x.Key, validation.IsQualifiedName)
			if _, ok := keys[x.Key]; ok {
				e.add(field.Duplicate(at.Child("key"), x.Key))
			}
			keys[x.Key] = slices.Sorted(slices.Values(x.Values))
			if len(x.Values) == 0 {
				e.required(at.Child("values"), "")
			}
			seen := map[string]bool{}
			for k, v := range x.Values {
				if seen[v] {
					e.add(field.Duplicate(at.Child("values").Index(k), v))
				}
				seen[v] = true
			}
		}
		same := func(o map[string][]string) bool { return maps.EqualFunc(o, keys, slices.Equal) }
		if len(keys) == 0 || slices.ContainsFunc(before, same) {
			e.add(field.Duplicate(field.NewPath("allowedTopologies").Index(i).Child("matchLabelExpressions"), ""))
		}
		before = append(before, keys)
	}
}

// parameters checks what a class tells its driver.
func parameters(e *problems, all map[string]string) {
	at, size := field.NewPath("parameters"), 0
	if len(all) > mostParameters {
		e.add(field.TooLong(at, "", mostParameters))
		return
	}
	for k, v := range all {
		if k == "" {
			e.invalid(at, k, "field can not be empty.")
		}
		size += len(k) + len(v)
	}
	if size > longestParameters {
		e.add(field.TooLong(at, "", longestParameters))
	}
}

func storageClassUpdate(e *problems, c, old *storagev1.StorageClass) {
	storageClass(e, c)
	e.immutable(nil, "parameters", c.Parameters, sameSpec(c.Parameters, old.Parameters))
	e.immutable(nil, "provisioner", c.Provisioner, c.Provisioner == old.Provisioner)
	e.immutable(nil, "reclaimPolicy", c.ReclaimPolicy, sameSpec(c.ReclaimPolicy, old.ReclaimPolicy))
	e.immutable(nil, "volumeBindingMode", c.VolumeBindingMode, sameSpec(c.VolumeBindingMode, old.VolumeBindingMode))
}
