package validate

import (
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
)

var resourceSliceRules = &rules{ // never changed
	create: rule(resourceSlice),
	update: change(func(e *problems, s, old *resourcev1.ResourceSlice) {
		resourceSlice(e, s)
		at := field.NewPath("spec")
		e.immutable(at, "driver", s.Spec.Driver, s.Spec.Driver == old.Spec.Driver)
		e.immutable(at.Child("pool"), "name", s.Spec.Pool.Name, s.Spec.Pool.Name == old.Spec.Pool.Name)
		e.immutable(at, "nodeName", s.Spec.NodeName, sameSpec(s.Spec.NodeName, old.Spec.NodeName))
	}),
}

func resourceSlice(e *problems, r *resourcev1.ResourceSlice) {
	s, at := &r.Spec, field.NewPath("spec")
	driverName(e, at.Child("driver"), s.Driver)
	pool := at.Child("pool")
	if s.Pool.Name == "" {
		e.required(pool.Child("name"), "")
	} else {
		if len(s.Pool.Name) > resourcev1.PoolNameMaxLength {
			e.add(field.TooLong(pool.Child("name"), "", resourcev1.PoolNameMaxLength))
		}
		for _, part := range strings.Split(s.Pool.Name, "/") {
			e.texts(pool.Child("name"), part, dnsSubdomain(part))
		}
	}
	if s.Pool.ResourceSliceCount <= 0 {
		e.invalid(pool.Child("resourceSliceCount"), s.Pool.ResourceSliceCount, "must be greater than zero")
	}
	if s.Pool.Generation < 0 {
		e.invalid(pool.Child("generation"), s.Pool.Generation, "must be greater than or equal to zero")
	}
	var set []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"nodeName", s.NodeName != nil}, {"nodeSelector", s.NodeSelector != nil},
		{"allNodes", s.AllNodes != nil && *s.AllNodes}, {"perDeviceNodeSelection", s.PerDeviceNodeSelection != nil && *s.PerDeviceNodeSelection},
	} {
		if f.set {
			set = append(set, "`"+f.name+"`")
		}
	}
	const exactly = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
	switch len(set) {
	case 0:
		e.required(at, exactly)
	case 1:
	default:
		e.invalid(at, "{"+strings.Join(set, ", ")+"}", exactly+", but multiple fields are set")
	}
	if s.NodeName != nil {
		e.check(at, "nodeName", *s.NodeName, dnsSubdomain)
	}
	if n := len(s.Devices); n > resourcev1.ResourceSliceMaxDevices {
		e.add(field.TooMany(at.Child("devices"), n, resourcev1.ResourceSliceMaxDevices))
	}
	names := map[string]bool{}
	for i := range s.Devices {
		d, at := &s.Devices[i], at.Child("devices").Index(i)
		device(e, d, at)
		if names[d.Name] {
			e.add(field.Duplicate(at, d.Name))
		}
		names[d.Name] = true
	}
}

func device(e *problems, d *resourcev1.Device, at *field.Path) {
	e.texts(at.Child("name"), d.Name, dnsLabel(d.Name))
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		e.invalid(at, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d", resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice))
	}
	for name, a := range d.Attributes {
		at := at.Child("attributes")
		qualified(e, string(name), at)
		attribute(e, &a, at.Key(string(name)))
	}
	for name := range d.Capacity {
		qualified(e, string(name), at.Child("capacity"))
	}
	if n := len(d.Taints); n > resourcev1.DeviceTaintsMaxLength {
		e.add(field.TooMany(at.Child("taints"), n, resourcev1.DeviceTaintsMaxLength))
	}
	for i, t := range d.Taints {
		at := at.Child("taints").Index(i)
		e.all(labelName(t.Key, at.Child("key")))
		e.texts(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))
		if t.Effect == "" {
			e.required(at.Child("effect"), "")
		} else if !slices.Contains(deviceTaintEffects, t.Effect) {
			oneOf(e, at, "effect", t.Effect, deviceTaintEffects...)
		}
	}
}

// qualified checks a name that may say which domain's it is.
func qualified(e *problems, name string, at *field.Path) {
	if name == "" {
		e.required(at, "")
		return
	}
	domain, id, ok := strings.Cut(name, "/")
	if ok {
		e.texts(at, domain, dnsSubdomain(domain))
	} else {
		id = name
	}
	e.texts(at, id, validation.IsCIdentifier(id))
}

func attribute(e *problems, a *resourcev1.DeviceAttribute, at *field.Path) {
	set := 0
	for _, is := range []bool{a.IntValue != nil, a.BoolValue != nil, a.StringValue != nil, a.VersionValue != nil} {
		if is {
			set++
		}
	}
	switch set {
	case 0:
		e.invalid(at, "", "exactly one value must be specified")
	case 1:
	default:
		e.invalid(at, a, "exactly one value must be specified")
	}
	if v := a.StringValue; v != nil && len(*v) > resourcev1.DeviceAttributeMaxValueLength {
		e.add(field.TooLong(at.Child("string"), "", resourcev1.DeviceAttributeMaxValueLength))
	}
	if v := a.VersionValue; v != nil {
		if _, err := version.ParseSemantic(*v); err != nil {
			e.invalid(at.Child("version"), *v, "must be a string compatible with semver.org spec 2.0.0")
		}
		if len(*v) > resourcev1.DeviceAttributeMaxValueLength {
			e.add(field.TooLong(at.Child("version"), "", resourcev1.DeviceAttributeMaxValueLength))
		}
	}
}
