package validate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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
	poolName(e, pool.Child("name"), s.Pool.Name)
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
		{"nodeName", s.NodeName != nil && *s.NodeName != ""}, {"nodeSelector", s.NodeSelector != nil},
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
	switch n := s.NodeName; {
	case n == nil:
	case *n == "":
		e.invalid(at.Child("nodeName"), *n, "must be either unset or set to a non-empty string")
	default:
		e.check(at, "nodeName", *n, dnsSubdomain)
	}
	if s.NodeSelector != nil {
		oneNodeTerm(e, s.NodeSelector, at.Child("nodeSelector"))
	}
	for _, f := range []struct {
		name  string
		value *bool
	}{{"allNodes", s.AllNodes}, {"perDeviceNodeSelection", s.PerDeviceNodeSelection}} {
		if f.value != nil && !*f.value {
			e.invalid(at.Child(f.name), false, "must be either unset or set to true")
		}
	}
	if s.Devices != nil && s.SharedCounters != nil {
		e.invalid(at, "", "only one of `sharedCounters` or `devices` is allowed")
	}
	sliceDevices(e, s, at.Child("devices"))
	counterSets(e, s.SharedCounters, at.Child("sharedCounters"))
}

func poolName(e *problems, at *field.Path, name string) {
	if !e.sized(at, name, resourcev1.PoolNameMaxLength) {
		return
	}
	for _, part := range strings.Split(name, "/") {
		e.texts(at, part, dnsSubdomain(part))
	}
}

// oneNodeTerm judges a selector of nodes that has just one term.
func oneNodeTerm(e *problems, s *corev1.NodeSelector, at *field.Path) {
	nodeSelector(e, s, at)
	if len(s.NodeSelectorTerms) != 1 {
		e.invalid(at.Child("nodeSelectorTerms"), s.NodeSelectorTerms, "must have exactly one node selector term")
	}
}

func sliceDevices(e *problems, s *resourcev1.ResourceSliceSpec, at *field.Path) {
	most := resourcev1.ResourceSliceMaxDevices
	if slices.ContainsFunc(s.Devices, func(d resourcev1.Device) bool { return len(d.Taints)+len(d.ConsumesCounters) > 0 }) {
		most = resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
	}
	if n := len(s.Devices); n > most {
		e.add(field.TooMany(at, n, most))
	}
	names := map[string]bool{}
	for i := range s.Devices {
		d, at := &s.Devices[i], at.Index(i)
		device(e, d, s.PerDeviceNodeSelection, at)
		if names[d.Name] {
			e.add(field.Duplicate(at, d.Name))
		}
		names[d.Name] = true
	}
}

func counterSets(e *problems, sets []resourcev1.CounterSet, at *field.Path) {
	if n := len(sets); n > resourcev1.ResourceSliceMaxCounterSets {
		e.add(field.TooMany(at, n, resourcev1.ResourceSliceMaxCounterSets))
	}
	for i := range sets {
		s, at := &sets[i], at.Index(i)
		e.checked(at, "name", s.Name, dnsLabel)
		if slices.ContainsFunc(sets[:i], func(o resourcev1.CounterSet) bool { return o.Name == s.Name }) {
			e.add(field.Duplicate(at, s.Name))
		}
		counters(e, s.Counters, at.Child("counters"), resourcev1.ResourceSliceMaxCountersPerCounterSet)
	}
}

func counters(e *problems, m map[string]resourcev1.Counter, at *field.Path, most int) {
	if len(m) == 0 {
		e.required(at, "")
	}
	if n := len(m); n > most {
		e.add(field.TooMany(at, n, most))
	}
	for name := range sorted(m) {
		e.texts(at, name, dnsLabel(name))
	}
}

func device(e *problems, d *resourcev1.Device, perDevice *bool, at *field.Path) {
	e.texts(at.Child("name"), d.Name, dnsLabel(d.Name))
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		e.invalid(at, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d", resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice))
	}
	for name, a := range sorted(d.Attributes) {
		at := at.Child("attributes")
		qualified(e, string(name), at)
		attribute(e, &a, at.Key(string(name)))
	}
	for name, c := range sorted(d.Capacity) {
		qualified(e, string(name), at.Child("capacity"))
		if c.RequestPolicy != nil {
			requestPolicy(e, &c, d.AllowMultipleAllocations, at.Child("capacity").Key(string(name)).Child("requestPolicy"))
		}
	}
	deviceTaints(e, d.Taints, at.Child("taints"))
	consumed(e, d.ConsumesCounters, at.Child("consumesCounters"))
	bindingPair(e, d, at)
	deviceNodes(e, d, perDevice != nil && *perDevice, at)
	for _, c := range []struct {
		name string
		list []string
		most int
	}{
		{"bindingConditions", d.BindingConditions, resourcev1.BindingConditionsMaxSize},
		{"bindingFailureConditions", d.BindingFailureConditions, resourcev1.BindingFailureConditionsMaxSize},
	} {
		at := at.Child(c.name)
		if n := len(c.list); n > c.most {
			e.add(field.TooMany(at, n, c.most))
		}
		for i, t := range c.list {
			if len(c.list) <= c.most {
				e.texts(at.Index(i), t, validation.IsQualifiedName(t))
			}
			if slices.Contains(c.list[:i], t) {
				e.add(field.Duplicate(at.Index(i), t))
			}
		}
	}
}

// requestPolicy judges how much of what a device has may be asked for.
func requestPolicy(e *problems, c *resourcev1.DeviceCapacity, shared *bool, at *field.Path) {
	if shared == nil || !*shared {
		e.forbidden(at, "allowMultipleAllocations must be true")
		return
	}
	p := c.RequestPolicy
	switch {
	case len(p.ValidValues) > 0 && p.ValidRange != nil:
		e.forbidden(at, `exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`)
	case len(p.ValidValues) > 0:
		if p.Default == nil {
			e.required(at.Child("default"), "required when validValues is defined")
			return
		}
		requestValues(e, c, at.Child("validValues"))
	case p.ValidRange != nil:
		if p.Default == nil {
			e.required(at.Child("default"), "required when validRange is defined")
			return
		}
		requestRange(e, c, at.Child("validRange"))
	}
}

// mostRequestValues are how many amounts a device may offer.
const mostRequestValues = 10

func requestValues(e *problems, c *resourcev1.DeviceCapacity, at *field.Path) {
	values, usual, found := c.RequestPolicy.ValidValues, c.RequestPolicy.Default, false
	if n := len(values); n > mostRequestValues {
		e.add(field.TooMany(at, n, mostRequestValues))
		values = nil
	}
	for i, v := range values {
		at := at.Index(i)
		found = found || v.Cmp(*usual) == 0
		if v.Cmp(c.Value) > 0 {
			e.invalid(at, v.String(), "option is larger than capacity value: "+c.Value.String())
		}
		switch {
		case slices.ContainsFunc(values[:i], func(o resource.Quantity) bool { return o.Cmp(v) == 0 }):
			e.add(field.Duplicate(at, v.String()))
		case i > 0 && v.Cmp(values[i-1]) < 0:
			e.invalid(at, v.String(), "values must be sorted in ascending order")
		}
	}
	if !found {
		e.invalid(at, usual.String(), "default value is not valid according to the requestPolicy")
	}
}

func requestRange(e *problems, c *resourcev1.DeviceCapacity, at *field.Path) {
	r, usual := c.RequestPolicy.ValidRange, c.RequestPolicy.Default
	if r.Min == nil {
		e.required(at.Child("min"), "required when validRange is defined")
		return
	}
	if r.Min.Cmp(c.Value) > 0 {
		e.invalid(at.Child("min"), r.Min.String(), "min is larger than capacity value: "+c.Value.String())
	}
	if usual.Cmp(*r.Min) < 0 {
		e.invalid(at.Child("min"), usual.String(), "default is less than min: "+r.Min.String())
	}
	if r.Max != nil {
		if r.Max.Cmp(c.Value) > 0 {
			e.invalid(at.Child("max"), r.Max.String(), "max is larger than capacity value: "+c.Value.String())
		}
		if r.Min.Cmp(*r.Max) > 0 {
			e.invalid(at.Child("max"), r.Min.String(), "min is larger than max: "+r.Max.String())
		}
		if usual.Cmp(*r.Max) > 0 {
			e.invalid(at.Child("max"), usual.String(), "default is more than max: "+r.Max.String())
		}
	}
	if r.Step == nil {
		return
	}
	for _, v := range []*resource.Quantity{usual, r.Max} {
		if v == nil || r.Step.Value() == 0 {
			continue
		}
		if (v.Value()-r.Min.Value())%r.Step.Value() != 0 {
			e.invalid(at.Child("step"), v.String(), fmt.Sprintf("value is not a multiple of a given step (%s) from (%s)", r.Step, r.Min))
		}
	}
}

// bindingPair checks that what is waited for comes with what ends the waiting.
func bindingPair(e *problems, d *resourcev1.Device, at *field.Path) {
	if len(d.BindingConditions) > 0 && len(d.BindingFailureConditions) == 0 {
		e.invalid(at.Child("bindingFailureConditions"), nil, "bindingFailureConditions are required to use bindingConditions")
	}
	if len(d.BindingFailureConditions) > 0 && len(d.BindingConditions) == 0 {
		e.invalid(at.Child("bindingConditions"), nil, "bindingConditions are required to use bindingFailureConditions")
	}
}

func deviceTaints(e *problems, taints []resourcev1.DeviceTaint, at *field.Path) {
	if n := len(taints); n > resourcev1.DeviceTaintsMaxLength {
		e.add(field.TooMany(at, n, resourcev1.DeviceTaintsMaxLength))
	}
	for i, t := range taints {
		at := at.Index(i)
		e.all(labelName(t.Key, at.Child("key")))
		e.texts(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))
		if t.Effect == "" {
			e.required(at.Child("effect"), "")
		} else if !slices.Contains(deviceTaintEffects, t.Effect) {
			oneOf(e, at, "effect", t.Effect, deviceTaintEffects...)
		}
	}
}

func consumed(e *problems, list []resourcev1.DeviceCounterConsumption, at *field.Path) {
	if n := len(list); n > resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice {
		e.add(field.TooMany(at, n, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice))
		return
	}
	for i := range list {
		c, at := &list[i], at.Index(i)
		e.checked(at, "counterSet", c.CounterSet, dnsLabel)
		if slices.ContainsFunc(list[:i], func(o resourcev1.DeviceCounterConsumption) bool { return o.CounterSet == c.CounterSet }) {
			e.add(field.Duplicate(at, c.CounterSet))
		}
		counters(e, c.Counters, at.Child("counters"), resourcev1.ResourceSliceMaxCountersPerDeviceCounterConsumption)
	}
}

// deviceNodes judges where a device is, which the device says itself only where
// its slice says that each does.
func deviceNodes(e *problems, d *resourcev1.Device, perDevice bool, at *field.Path) {
	var set []string
	for _, f := range []struct {
		name string
		set  bool
	}{{"nodeName", d.NodeName != nil}, {"nodeSelector", d.NodeSelector != nil}, {"allNodes", d.AllNodes != nil}} {
		if !f.set {
			continue
		}
		set = append(set, "`"+f.name+"`")
	}
	if !perDevice {
		if len(set) > 0 {
			e.invalid(at, nil, "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec")
		}
		return
	}
	if d.NodeName != nil {
		e.check(at, "nodeName", *d.NodeName, dnsSubdomain)
	}
	if d.NodeSelector != nil {
		oneNodeTerm(e, d.NodeSelector, at.Child("nodeSelector"))
	}
	const exactly = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
	switch len(set) {
	case 0:
		e.required(at, exactly)
	case 1:
	default:
		e.invalid(at, "{"+strings.Join(set, ", ")+"}", exactly)
	}
}

// qualified checks a name that may say which domain's it is.
func qualified(e *problems, name string, at *field.Path) {
	if name == "" {
		e.required(at, "")
		return
	}
	domained(e, name, at)
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
	if v := a.StringValue; v != nil {
		e.notLonger(at.Child("string"), *v, resourcev1.DeviceAttributeMaxValueLength)
	}
	if v := a.VersionValue; v != nil {
		if _, err := version.ParseSemantic(*v); err != nil {
			e.invalid(at.Child("version"), *v, "must be a string compatible with semver.org spec 2.0.0")
		}
		e.notLonger(at.Child("version"), *v, resourcev1.DeviceAttributeMaxValueLength)
	}
}
