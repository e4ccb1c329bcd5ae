package validate

import (
	"encoding/json"
	"slices"
	"strings"

	guid "github.com/google/uuid"
	resourcev1 "k8s.io/api/resource/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

var (
	deviceClassRules = &rules{ // never changed
		name:   longName,
		create: rule(deviceClass),
		update: change(func(e *problems, c, old *resourcev1.DeviceClass) {
			e.before().selectors(old.Spec.Selectors)
			deviceClass(e, c)
		}),
	}
	resourceClaimRules = &rules{ // never changed
		create: rule(func(e *problems, c *resourcev1.ResourceClaim) { deviceClaim(e, &c.Spec, field.NewPath("spec")) }),
		update: change(func(e *problems, c, old *resourcev1.ResourceClaim) {
			e.immutable(nil, "spec", c.Spec, sameSpec(c.Spec, old.Spec))
		}),
		subresources: subresources{"status": change(func(e *problems, c, old *resourcev1.ResourceClaim) {
			if now, was := c.Status.Allocation, old.Status.Allocation; now != nil && was != nil {
				e.immutable(field.NewPath("status"), "allocation", now, sameSpec(now, was))
			}
			at := field.NewPath("status", "reservedFor")
			if n := len(c.Status.ReservedFor); n > resourcev1.ResourceClaimReservedForMaxSize {
				e.add(field.TooMany(at, n, resourcev1.ResourceClaimReservedForMaxSize))
			}
			for i, r := range c.Status.ReservedFor {
				at := at.Index(i)
				e.given(at, "resource", r.Resource)
				e.given(at, "name", r.Name)
				e.given(at, "uid", string(r.UID))
				if slices.ContainsFunc(c.Status.ReservedFor[:i], func(o resourcev1.ResourceClaimConsumerReference) bool { return o.UID == r.UID }) {
					e.add(field.Duplicate(at, r.UID))
				}
			}
			if len(c.Status.ReservedFor) > 0 && c.Status.Allocation == nil {
				e.forbidden(at, "may not be specified when `allocated` is not set")
			}
			allocation(e, c)
			allocatedDevices(e, c)
		})},
	}
	resourceClaimTemplateRules = &rules{ // never changed
		create: rule(claimTemplate),
		update: change(func(e *problems, t, old *resourcev1.ResourceClaimTemplate) {
			for _, r := range old.Spec.Spec.Devices.Requests {
				if r.Exactly != nil {
					e.before().selectors(r.Exactly.Selectors)
				}
				for _, s := range r.FirstAvailable {
					e.before().selectors(s.Selectors)
				}
			}
			claimTemplate(e, t)
			e.immutable(nil, "spec", t.Spec, sameSpec(t.Spec, old.Spec))
		}),
	}
)

// claimTemplate judges what claims are made of. Of their metadata there are
// labels and annotations alone to be said.
func claimTemplate(e *problems, t *resourcev1.ResourceClaimTemplate) {
	m, at := &t.Spec.ObjectMeta, specPath.Child("metadata")
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"name", m.Name != ""}, {"generateName", m.GenerateName != ""}, {"namespace", m.Namespace != ""}, {"selfLink", m.SelfLink != ""},
		{"uID", m.UID != ""}, {"resourceVersion", m.ResourceVersion != ""}, {"generation", m.Generation != 0},
		{"creationTimestamp", !m.CreationTimestamp.IsZero()}, {"deletionTimestamp", m.DeletionTimestamp != nil},
		{"deletionGracePeriodSeconds", m.DeletionGracePeriodSeconds != nil}, {"ownerReferences", m.OwnerReferences != nil},
		{"finalizers", m.Finalizers != nil}, {"managedFields", len(m.ManagedFields) > 0},
	} {
		if f.set {
			e.forbidden(at.Child(f.name), "cannot be set")
		}
	}
	templateMeta(e, m, at)
	deviceClaim(e, &t.Spec.Spec, specPath.Child("spec"))
}

func deviceClass(e *problems, c *resourcev1.DeviceClass) {
	at := field.NewPath("spec")
	deviceSelectors(e, c.Spec.Selectors, at.Child("selectors"))
	config := at.Child("config")
	if n := len(c.Spec.Config); n > resourcev1.DeviceConfigMaxSize {
		e.add(field.TooMany(config, n, resourcev1.DeviceConfigMaxSize))
	}
	for i := range c.Spec.Config {
		opaque(e, &c.Spec.Config[i].DeviceConfiguration, config.Index(i))
	}
	if n := c.Spec.ExtendedResourceName; n != nil && !extended(*n) {
		e.invalid(at.Child("extendedResourceName"), *n, "must be a valid extended resource name")
	}
}

// extended tells whether a name is one of a resource that nodes advertise.
func extended(name string) bool {
	domain, _, ok := strings.Cut(name, "/")
	return ok && !strings.HasSuffix("."+domain, ".kubernetes.io") && !strings.HasPrefix(name, "requests.") &&
		len(validation.IsQualifiedName("requests."+name)) == 0
}

func deviceSelectors(e *problems, all []resourcev1.DeviceSelector, at *field.Path) {
	if n := len(all); n > resourcev1.DeviceSelectorsMaxSize {
		e.add(field.TooMany(at, n, resourcev1.DeviceSelectorsMaxSize))
	}
	for i, s := range all {
		at := at.Index(i).Child("cel")
		switch {
		case s.CEL == nil:
			e.required(at, "")
		case len(s.CEL.Expression) > resourcev1.CELSelectorExpressionMaxLength:
			e.add(field.TooLong(at.Child("expression"), "", resourcev1.CELSelectorExpressionMaxLength))
		default:
			deviceExpression(e, s.CEL.Expression, at.Child("expression"))
		}
	}
}

// deviceExpression judges an expression that chooses devices.
func deviceExpression(e *problems, expression string, at *field.Path) {
	if !e.affords(at, expression) {
		return
	}
	compiled := e.cel.Device(expression, e.stored.origin(expression))
	e.refused(at, expression, compiled.Error)
	if compiled.Error == nil && compiled.MaxCost > resourcev1.CELSelectorExpressionMaxCost {
		e.forbidden(at, "too complex, exceeds cost limit")
	}
}

// selectors adds those of devices.
func (s storedExpressions) selectors(all []resourcev1.DeviceSelector) {
	for _, d := range all {
		if d.CEL != nil {
			s[d.CEL.Expression] = true
		}
	}
}

func driverName(e *problems, at *field.Path, name string) {
	if e.sized(at, name, resourcev1.DriverNameMaxLength) {
		e.texts(at, name, dnsSubdomain(name))
	}
}

func opaque(e *problems, c *resourcev1.DeviceConfiguration, at *field.Path) {
	at = at.Child("opaque")
	if c.Opaque == nil {
		e.required(at, "")
		return
	}
	driverName(e, at.Child("driver"), c.Opaque.Driver)
	jsonObject(e, c.Opaque.Parameters.Raw, at.Child("parameters"))
}

// jsonObject judges what a driver alone understands.
func jsonObject(e *problems, raw []byte, at *field.Path) {
	var object map[string]any
	switch {
	case len(raw) == 0:
		e.required(at, "")
	case len(raw) > resourcev1.OpaqueParametersMaxLength:
		e.add(field.TooLong(at, "", resourcev1.OpaqueParametersMaxLength))
	default:
		var any any
		if err := json.Unmarshal(raw, &any); err != nil {
			e.invalid(at, "<value omitted>", "error parsing data as JSON: "+err.Error())
		} else if json.Unmarshal(raw, &object) != nil || object == nil {
			e.invalid(at, "<value omitted>", "must be a valid JSON object")
		}
	}
}

func deviceClaim(e *problems, s *resourcev1.ResourceClaimSpec, at *field.Path) {
	d, at := &s.Devices, at.Child("devices")
	names := map[string]bool{}
	requests := at.Child("requests")
	if n := len(d.Requests); n > resourcev1.DeviceRequestsMaxSize {
		e.add(field.TooMany(requests, n, resourcev1.DeviceRequestsMaxSize))
	}
	for i := range d.Requests {
		r, at := &d.Requests[i], requests.Index(i)
		if names[r.Name] {
			e.add(field.Duplicate(at, r.Name))
		}
		names[r.Name] = true
		deviceRequest(e, r, names, at)
	}
	for i := range d.Constraints {
		c, at := &d.Constraints[i], at.Child("constraints").Index(i)
		named(e, c.Requests, names, at.Child("requests"))
		switch {
		case c.MatchAttribute != nil: // and of the other nothing is said then
			attributeName(e, string(*c.MatchAttribute), at.Child("matchAttribute"))
		case c.DistinctAttribute != nil:
			attributeName(e, string(*c.DistinctAttribute), at.Child("distinctAttribute"))
		default:
			e.required(at, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`)
		}
	}
	if n := len(d.Constraints); n > resourcev1.DeviceConstraintsMaxSize {
		e.add(field.TooMany(at.Child("constraints"), n, resourcev1.DeviceConstraintsMaxSize))
	}
	if n := len(d.Config); n > resourcev1.DeviceConfigMaxSize {
		e.add(field.TooMany(at.Child("config"), n, resourcev1.DeviceConfigMaxSize))
	}
	for i := range d.Config {
		at := at.Child("config").Index(i)
		named(e, d.Config[i].Requests, names, at.Child("requests"))
		opaque(e, &d.Config[i].DeviceConfiguration, at)
	}
}

// named checks a list of requests' names.
func named(e *problems, list []string, names map[string]bool, at *field.Path) {
	for i, n := range list {
		if slices.Contains(list[:i], n) {
			e.add(field.Duplicate(at.Index(i), n))
		}
		requestName(e, n, names, at.Index(i))
	}
}

// requestName checks the name of a request, or of one within it.
func requestName(e *problems, n string, names map[string]bool, at *field.Path) {
	if parts := strings.Split(n, "/"); len(parts) <= 2 {
		for _, part := range parts {
			e.texts(at, part, dnsLabel(part))
		}
	}
	if !names[n] {
		e.invalid(at, n, "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'")
	}
}

// attributeName checks a name that says which domain's it is.
func attributeName(e *problems, name string, at *field.Path) {
	domained(e, name, at)
	if !strings.Contains(name, "/") {
		e.invalid(at, name, "a fully qualified name must be a domain and a name separated by a slash")
	}
}

// domained checks a name that may say which domain's it is. Of one with more
// slashes upstream says nothing.
func domained(e *problems, name string, at *field.Path) {
	id := name
	switch parts := strings.Split(name, "/"); len(parts) {
	case 1:
	case 2:
		if parts[0] == "" {
			e.required(at, "the domain must not be empty")
		} else {
			e.notLonger(at, parts[0], resourcev1.DeviceMaxDomainLength)
			e.texts(at, parts[0], dnsSubdomain(parts[0]))
		}
		if id = parts[1]; id == "" {
			e.required(at, "the name must not be empty")
			return
		}
	default:
		return
	}
	e.notLonger(at, id, resourcev1.DeviceMaxIDLength)
	e.texts(at, id, validation.IsCIdentifier(id))
}

// requestNames are those that devices of a claim may be told to be for.
func requestNames(c *resourcev1.ResourceClaim) map[string]bool {
	names := map[string]bool{}
	for _, r := range c.Spec.Devices.Requests {
		names[r.Name] = true
		for _, s := range r.FirstAvailable {
			names[r.Name+"/"+s.Name] = true
		}
	}
	return names
}

// allocation judges what a claim was given.
func allocation(e *problems, c *resourcev1.ResourceClaim) {
	a, at := c.Status.Allocation, statusPath.Child("allocation")
	if a == nil {
		return
	}
	names, devices := requestNames(c), at.Child("devices")
	if n := len(a.Devices.Results); n > resourcev1.AllocationResultsMaxSize {
		e.add(field.TooMany(devices.Child("results"), n, resourcev1.AllocationResultsMaxSize))
	}
	for i := range a.Devices.Results {
		r, at := &a.Devices.Results[i], devices.Child("results").Index(i)
		requestName(e, r.Request, names, at.Child("request"))
		deviceIdentity(e, r.Driver, r.Pool, r.Device, at)
		if r.ShareID != nil {
			uuid(e, string(*r.ShareID), at.Child("shareID"))
		}
	}
	if n := len(a.Devices.Config); n > 2*resourcev1.DeviceConfigMaxSize {
		e.add(field.TooMany(devices.Child("config"), n, 2*resourcev1.DeviceConfigMaxSize))
	}
	for i := range a.Devices.Config {
		f, at := &a.Devices.Config[i], devices.Child("config").Index(i)
		givenOneOf(e, at, "source", f.Source, resourcev1.AllocationConfigSourceClaim, resourcev1.AllocationConfigSourceClass)
		named(e, f.Requests, names, at.Child("requests"))
		opaque(e, &f.DeviceConfiguration, at)
	}
	if a.NodeSelector != nil {
		nodeSelector(e, a.NodeSelector, at.Child("nodeSelector"))
	}
}

func deviceIdentity(e *problems, driver, pool, device string, at *field.Path) {
	driverName(e, at.Child("driver"), driver)
	poolName(e, at.Child("pool"), pool)
	e.check(at, "device", device, dnsLabel)
}

func uuid(e *problems, id string, at *field.Path) {
	if err := guid.Validate(id); err != nil {
		e.invalid(at, id, "error validating uid: "+err.Error())
	}
}

// mostDeviceConditions are how many conditions drivers may tell of a device.
const mostDeviceConditions = 8

// deviceKey is what devices of claims are told apart by.
type deviceKey struct {
	Driver, Pool, Device string
	ShareID              types.UID
}

// allocatedDevices judges what drivers tell of a claim's devices.
func allocatedDevices(e *problems, c *resourcev1.ResourceClaim) {
	given, told := map[deviceKey]bool{}, map[deviceKey]bool{}
	if a := c.Status.Allocation; a != nil {
		for _, r := range a.Devices.Results {
			given[deviceKey{r.Driver, r.Pool, r.Device, ptr.Deref(r.ShareID, "")}] = true
		}
	}
	for i := range c.Status.Devices {
		d, at := &c.Status.Devices[i], statusPath.Child("devices").Index(i)
		key := deviceKey{d.Driver, d.Pool, d.Device, types.UID(ptr.Deref(d.ShareID, ""))}
		if told[key] {
			e.add(field.Duplicate(at, key))
		}
		told[key] = true
		deviceIdentity(e, d.Driver, d.Pool, d.Device, at)
		if d.ShareID != nil {
			uuid(e, *d.ShareID, at.Child("shareID"))
		}
		if !given[key] {
			e.invalid(at, key, "must be an allocated device in the claim")
		}
		if n := len(d.Conditions); n > mostDeviceConditions {
			e.add(field.TooMany(at.Child("conditions"), n, mostDeviceConditions))
		}
		e.all(metavalidation.ValidateConditions(d.Conditions, at.Child("conditions")))
		if d.Data != nil && len(d.Data.Raw) > 0 {
			jsonObject(e, d.Data.Raw, at.Child("data"))
		}
		networkData(e, d.NetworkData, at.Child("networkData"))
	}
}

func networkData(e *problems, n *resourcev1.NetworkDeviceData, at *field.Path) {
	if n == nil {
		return
	}
	e.notLonger(at.Child("interfaceName"), n.InterfaceName, resourcev1.NetworkDeviceDataInterfaceNameMaxLength)
	e.notLonger(at.Child("hardwareAddress"), n.HardwareAddress, resourcev1.NetworkDeviceDataHardwareAddressMaxLength)
	if len(n.IPs) > resourcev1.NetworkDeviceDataMaxIPs {
		e.add(field.TooMany(at.Child("ips"), len(n.IPs), resourcev1.NetworkDeviceDataMaxIPs))
	}
	for i, ip := range n.IPs {
		at := at.Child("ips").Index(i)
		e.all(validation.IsValidInterfaceAddress(at, ip))
		if slices.Contains(n.IPs[:i], ip) {
			e.add(field.Duplicate(at, ip))
		}
	}
}

func deviceRequest(e *problems, r *resourcev1.DeviceRequest, names map[string]bool, at *field.Path) {
	e.texts(at.Child("name"), r.Name, dnsLabel(r.Name))
	switch {
	case r.Exactly == nil && len(r.FirstAvailable) == 0:
		e.required(at, "exactly one of `exactly` or `firstAvailable` is required")
	case r.Exactly != nil && len(r.FirstAvailable) > 0:
		e.invalid(at, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set")
	case r.Exactly != nil:
		x := r.Exactly
		wantedDevices(e, x.DeviceClassName, x.Selectors, x.AllocationMode, x.Count, x.Tolerations, at.Child("exactly"))
		return
	}
	if n := len(r.FirstAvailable); n > resourcev1.FirstAvailableDeviceRequestMaxSize {
		e.add(field.TooMany(at.Child("firstAvailable"), n, resourcev1.FirstAvailableDeviceRequestMaxSize))
	}
	if r.Exactly != nil {
		return
	}
	own := map[string]bool{}
	for i := range r.FirstAvailable {
		s, at := &r.FirstAvailable[i], at.Child("firstAvailable").Index(i)
		e.texts(at.Child("name"), s.Name, dnsLabel(s.Name))
		if own[s.Name] {
			e.add(field.Duplicate(at, s.Name))
		}
		own[s.Name] = true
		names[r.Name+"/"+s.Name] = true
		wantedDevices(e, s.DeviceClassName, s.Selectors, s.AllocationMode, s.Count, s.Tolerations, at)
	}
}

func wantedDevices(e *problems, class string, selectors []resourcev1.DeviceSelector, mode resourcev1.DeviceAllocationMode, count int64, tolerations []resourcev1.DeviceToleration, at *field.Path) {
	e.checked(at, "deviceClassName", class, dnsSubdomain)
	deviceSelectors(e, selectors, at.Child("selectors"))
	switch mode {
	case resourcev1.DeviceAllocationModeAll:
		if count != 0 {
			e.invalid(at.Child("count"), count, "must not be specified when allocationMode is 'All'")
		}
	case resourcev1.DeviceAllocationModeExactCount:
		if count <= 0 {
			e.invalid(at.Child("count"), count, "must be greater than zero")
		}
	default:
		oneOf(e, at, "allocationMode", mode, resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount)
	}
	if n := len(tolerations); n > resourcev1.DeviceTolerationsMaxLength {
		e.add(field.TooMany(at.Child("tolerations"), n, resourcev1.DeviceTolerationsMaxLength))
	}
	for i, t := range tolerations {
		at := at.Child("tolerations").Index(i)
		if t.Key != "" {
			e.all(labelName(t.Key, at.Child("key")))
		}
		switch t.Operator {
		case resourcev1.DeviceTolerationOpExists:
			if t.Value != "" {
				e.invalid(at.Child("value"), t.Value, "must be empty for operator `Exists`")
			}
		case resourcev1.DeviceTolerationOpEqual:
			e.texts(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))
		default:
			oneOf(e, at, "operator", t.Operator, resourcev1.DeviceTolerationOpEqual, resourcev1.DeviceTolerationOpExists)
		}
		if t.Effect != "" {
			oneOf(e, at, "effect", t.Effect, deviceTaintEffects...)
		}
	}
}

var deviceTaintEffects = []resourcev1.DeviceTaintEffect{ // never changed
	resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone,
}

func labelName(name string, at *field.Path) (errs field.ErrorList) {
	for _, text := range validation.IsQualifiedName(name) {
		errs = append(errs, field.Invalid(at, name, text))
	}
	return errs
}
