package validate

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	resourcehelper "k8s.io/component-helpers/resource"
)

const hugePages = corev1.ResourceHugePagesPrefix

func isHugePages(name corev1.ResourceName) bool { return strings.HasPrefix(string(name), hugePages) }

// isNative tells whether a resource is Kubernetes' own.
func isNative(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// isExtended tells whether a resource is counted, and named by its maker.
func isExtended(name corev1.ResourceName) bool {
	if isNative(name) || strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix) {
		return false
	}
	// A quota of it is to be named by it.
	return len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+string(name))) == 0
}

func isContainerResource(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return true
	}
	return isHugePages(name)
}

// isStandardResource tells whether something of that name is counted anywhere.
func isStandardResource(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceStorage, corev1.ResourcePods, corev1.ResourceServices, corev1.ResourceReplicationControllers,
		corev1.ResourceSecrets, corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceQuotas,
		corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers, corev1.ResourceRequestsCPU,
		corev1.ResourceRequestsMemory, corev1.ResourceRequestsStorage, corev1.ResourceRequestsEphemeralStorage,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage:
		return true
	}
	return isContainerResource(name) || strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

func resourceName(e *problems, name corev1.ResourceName, at *field.Path) {
	if texts := validation.IsQualifiedName(string(name)); len(texts) > 0 {
		e.texts(at, name, texts)
		return
	}
	if !strings.Contains(string(name), "/") && !isStandardResource(name) {
		e.invalid(at, name, "must be a standard resource type or fully qualified")
	}
}

// containerResource judges the name of what a container asks for.
func containerResource(e *problems, name corev1.ResourceName, at *field.Path) {
	if isContainerResource(name) && !isHugePages(name) {
		return
	}
	resourceName(e, name, at)
	switch {
	case !strings.Contains(string(name), "/"):
		if !isContainerResource(name) {
			e.invalid(at, name, "must be a standard resource for containers")
		}
	case !isNative(name) && !isExtended(name):
		e.invalid(at, name, "doesn't follow extended resource name standard")
	}
}

// quantities judges the names and amounts in a list, in the order of names so
// that errors come in the same order each time.
func quantities(e *problems, list corev1.ResourceList, at *field.Path, name func(*problems, corev1.ResourceName, *field.Path)) {
	for n, q := range ordered(list) {
		key := at.Key(string(n))
		name(e, n, key)
		quantity(e, n, q, key)
	}
}

// ordered iterates by name. Lists are short: a next name is searched for each time.
func ordered(list corev1.ResourceList) func(func(corev1.ResourceName, resource.Quantity) bool) {
	return func(yield func(corev1.ResourceName, resource.Quantity) bool) {
		if len(list) == 0 {
			return
		}
		var names [8]corev1.ResourceName
		sorted := names[:0]
		for n := range list {
			sorted = append(sorted, n)
		}
		slices.Sort(sorted)
		for _, n := range sorted {
			if !yield(n, list[n]) {
				return
			}
		}
	}
}

// quantity judges an amount of a resource.
func quantity(e *problems, name corev1.ResourceName, q resource.Quantity, at *field.Path) {
	if q.Sign() < 0 {
		e.invalid(at, q.String(), apivalidation.IsNegativeErrorMsg)
	}
	if isCounted(name) && q.MilliValue()%1000 != 0 {
		e.invalid(at, q.String(), "must be an integer")
	}
}

func isCounted(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers,
		corev1.ResourceSecrets, corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims,
		corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers:
		return true
	}
	return isExtended(name)
}

func requirements(e *problems, p *pod, r *corev1.ResourceRequirements, at *field.Path) {
	if len(r.Limits)+len(r.Requests)+len(r.Claims) == 0 {
		return
	}
	requirementsOf(e, p, r, at, containerResource)
}

// requirementsOf judges what a container or a whole pod asks for, whose resources name knows.
func requirementsOf(e *problems, p *pod, r *corev1.ResourceRequirements, at *field.Path, name func(*problems, corev1.ResourceName, *field.Path)) {
	limits, requests := at.Child("limits"), at.Child("requests")
	quantities(e, r.Limits, limits, name)
	huge, divisible := false, false
	see := func(list corev1.ResourceList) {
		for n := range list {
			huge = huge || isHugePages(n)
			divisible = divisible || n == corev1.ResourceCPU || n == corev1.ResourceMemory
		}
	}
	see(r.Limits)
	see(r.Requests)
	for n, q := range ordered(r.Requests) {
		key := requests.Key(string(n))
		name(e, n, key)
		quantity(e, n, q, key)
		limit, limited := r.Limits[n]
		strict := isHugePages(n) || isExtended(n)
		switch {
		case limited && strict && q.Cmp(limit) != 0:
			e.invalid(requests, q.String(), "must be equal to "+string(n)+" limit of "+limit.String())
		case limited && q.Cmp(limit) > 0:
			e.invalid(requests, q.String(), "must be less than or equal to "+string(n)+" limit of "+limit.String())
		case !limited && strict:
			e.required(limits, "Limit must be set for non overcommitable resources")
		}
	}
	if huge && !divisible {
		e.forbidden(at, "HugePages require cpu or memory")
	}
	for i, c := range r.Claims {
		at := at.Child("claims").Index(i)
		if c.Name == "" {
			e.required(at, "")
			continue
		}
		if slices.ContainsFunc(r.Claims[:i], func(o corev1.ResourceClaim) bool {
			return o.Name == c.Name && (o.Request == c.Request || o.Request == "")
		}) {
			e.add(field.Duplicate(at, c.Name))
		}
		if p != nil && !slices.ContainsFunc(p.ResourceClaims, func(o corev1.PodResourceClaim) bool { return o.Name == c.Name }) {
			missing := field.NotFound(at, c.Name)
			missing.Detail = "must be one of the names in pod.spec.resourceClaims" + emptyClaims(p)
			e.add(missing)
		}
	}
}

// podLevelResource judges the name of what a whole pod asks for.
func podLevelResource(e *problems, n corev1.ResourceName, at *field.Path) {
	before := len(e.list)
	resourceName(e, n, at)
	if len(e.list) == before && !resourcehelper.IsSupportedPodLevelResource(n) {
		e.add(field.NotSupported(at, n, []string{string(corev1.ResourceCPU), hugePages, string(corev1.ResourceMemory)}))
	}
}

// podResources judges what a whole pod asks for (KEP-2837).
func podResources(e *problems, s *corev1.PodSpec, at *field.Path) {
	r := s.Resources
	if r.Claims != nil {
		e.forbidden(at.Child("claims"), "claims may not be set for Resources at pod-level")
	}
	requirementsOf(e, &pod{PodSpec: s}, r, at, podLevelResource)
	opts := resourcehelper.PodResourcesOptions{SkipPodLevelResources: true, ExcludeOverhead: true}
	p := corev1.Pod{Spec: *s}
	if len(r.Requests) > 0 {
		for n, sum := range ordered(resourcehelper.AggregateContainerRequests(&p, opts)) {
			if q, ok := r.Requests[n]; ok && sum.Cmp(q) > 0 {
				e.invalid(at.Child("requests").Key(string(n)), q.String(), "must be greater than or equal to aggregate container requests of "+sum.String())
			}
		}
	}
	eachContainer(s, at, func(c *corev1.Container, at *field.Path) {
		for n, l := range ordered(c.Resources.Limits) {
			if q, ok := r.Limits[n]; ok && l.Cmp(q) > 0 {
				e.invalid(at.Key(string(n)).Child("limits"), l.String(), "must be less than or equal to pod limits of "+q.String())
			}
		}
	})
}

// among is givenOneOf of a value that is told of where it is found.
func among[T ~string](e *problems, at *field.Path, value T, supported ...T) {
	switch {
	case value == "":
		e.required(at, "")
	case !slices.Contains(supported, value):
		e.add(field.NotSupported(at, value, supported))
	}
}

func emptyClaims(p *pod) string {
	if len(p.ResourceClaims) == 0 {
		return " which is empty"
	}
	return ""
}

func resizePolicy(e *problems, p *pod, policies []corev1.ContainerResizePolicy, at *field.Path) {
	list := at
	for i, r := range policies {
		at := at.Index(i)
		// Upstream says both of the list.
		among(e, list, r.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)
		among(e, list, r.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)
		if p.RestartPolicy == corev1.RestartPolicyNever && r.RestartPolicy != corev1.NotRequired {
			e.invalid(list, r.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")
		}
		if slices.ContainsFunc(policies[:i], func(o corev1.ContainerResizePolicy) bool { return o.ResourceName == r.ResourceName }) {
			e.add(field.Duplicate(at, r.ResourceName))
		}
	}
}
