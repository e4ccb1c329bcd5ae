package validate

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

const podFixed = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
	"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"

// podUpdate judges a change of what was accepted before; a spec that stayed the
// same is not looked at again.
func podUpdate(e *problems, p, old *corev1.Pod) {
	if sameSpec(&p.Spec, &old.Spec) {
		return
	}
	podWhole(e, p)
	s, was := &p.Spec, &old.Spec
	if len(s.Containers) != len(was.Containers) {
		e.forbidden(containersPath, "pod updates may not add or remove containers")
		return
	}
	if len(s.InitContainers) != len(was.InitContainers) {
		e.forbidden(specPath.Child("initContainers"), "pod updates may not add or remove containers")
		return
	}
	deadlineUpdate(e, s.ActiveDeadlineSeconds, was.ActiveDeadlineSeconds)
	tolerationsUpdate(e, s.Tolerations, was.Tolerations)
	for i, g := range s.SchedulingGates {
		if !slices.Contains(was.SchedulingGates, g) && !slices.Contains(s.SchedulingGates[i+1:], g) {
			e.forbidden(specPath.Child("schedulingGates").Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name))
		}
	}
	if len(was.SchedulingGates) > 0 && s.NodeName != was.NodeName {
		e.forbidden(specPath.Child("nodeName"), "cannot be set until all schedulingGates have been cleared")
	}
	// What may be changed is made as it was; what still differs may not be.
	left := s.DeepCopy()
	for i := range left.Containers {
		left.Containers[i].Image = was.Containers[i].Image
	}
	for i := range left.InitContainers {
		left.InitContainers[i].Image = was.InitContainers[i].Image
	}
	left.ActiveDeadlineSeconds = was.ActiveDeadlineSeconds
	left.Tolerations = was.Tolerations
	left.SchedulingGates = was.SchedulingGates
	if g, o := left.TerminationGracePeriodSeconds, was.TerminationGracePeriodSeconds; g != nil && *g == 1 && o != nil && *o < 0 {
		left.TerminationGracePeriodSeconds = o
	}
	if len(was.SchedulingGates) > 0 {
		gatedUpdate(e, left, was)
	}
	if !sameSpec(left, was) {
		e.forbidden(specPath, podFixed+diff.Diff(was, left))
	}
}

func deadlineUpdate(e *problems, d, was *int64) {
	at := specPath.Child("activeDeadlineSeconds")
	switch {
	case d == nil:
		if was != nil {
			e.invalid(at, d, "must not update from a positive integer to nil value")
		}
	case *d < 0 || *d > math.MaxInt32:
		e.invalid(at, *d, validation.InclusiveRangeError(0, math.MaxInt32))
	case was != nil && *was < *d:
		e.invalid(at, *d, "must be less than or equal to previous value")
	}
}

func tolerationsUpdate(e *problems, list, was []corev1.Toleration) {
	for _, o := range was {
		o.TolerationSeconds = nil
		if !slices.ContainsFunc(list, func(t corev1.Toleration) bool { t.TolerationSeconds = nil; return t == o }) {
			e.forbidden(specPath.Child("tolerations"), "existing toleration can not be modified except its tolerationSeconds")
			return
		}
	}
}

// gatedUpdate lets a pod that waits for its gates ask for less nodes than it
// did (KEP-3838). What is all right is made as it was.
func gatedUpdate(e *problems, s, was *corev1.PodSpec) {
	at := specPath.Child("nodeSelector")
	for k, v := range was.NodeSelector {
		if now, ok := s.NodeSelector[k]; !ok || now != v {
			e.invalid(at, s.NodeSelector, "only additions to spec.nodeSelector are allowed (no mutations or deletions)")
			break
		}
	}
	s.NodeSelector = was.NodeSelector
	if s.Affinity == nil || s.Affinity.NodeAffinity == nil {
		return
	}
	var o corev1.NodeAffinity
	if was.Affinity != nil && was.Affinity.NodeAffinity != nil {
		o = *was.Affinity.NodeAffinity
	}
	n := s.Affinity.NodeAffinity
	if terms := o.RequiredDuringSchedulingIgnoredDuringExecution; terms != nil {
		at := specPath.Child("affinity", "nodeAffinity", mustHold)
		now := n.RequiredDuringSchedulingIgnoredDuringExecution
		switch {
		case now == nil || len(now.NodeSelectorTerms) != len(terms.NodeSelectorTerms):
			e.invalid(at.Child("nodeSelectorTerms"), now, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
		default:
			for i, t := range terms.NodeSelectorTerms {
				more := now.NodeSelectorTerms[i]
				if len(more.MatchExpressions) < len(t.MatchExpressions) || len(more.MatchFields) < len(t.MatchFields) ||
					!apiequality.Semantic.DeepEqual(more.MatchExpressions[:len(t.MatchExpressions)], t.MatchExpressions) ||
					!apiequality.Semantic.DeepEqual(more.MatchFields[:len(t.MatchFields)], t.MatchFields) {
					e.invalid(at.Child("nodeSelectorTerms").Index(i), more, "only additions are allowed (no mutations or deletions)")
				}
			}
		}
	}
	switch {
	case was.Affinity == nil && s.Affinity.PodAffinity == nil && s.Affinity.PodAntiAffinity == nil:
		s.Affinity = nil
	case was.Affinity == nil:
		s.Affinity.NodeAffinity = nil
	default:
		s.Affinity.NodeAffinity = was.Affinity.NodeAffinity
	}
}

func podStatusUpdate(e *problems, p, old *corev1.Pod) {
	if p.Spec.NodeName != old.Spec.NodeName {
		e.forbidden(statusPath.Child("nodeName"), "may not be changed directly")
	}
	s := &p.Status
	if s.NominatedNodeName != "" {
		e.check(statusPath, "nominatedNodeName", s.NominatedNodeName, dnsSubdomain)
	}
	for i, c := range s.EphemeralContainerStatuses {
		if len(c.AllocatedResourcesStatus) > 0 {
			e.forbidden(statusPath.Child("ephemeralContainerStatuses").Index(i).Child("allocatedResourcesStatus"), "must not be specified in container status")
		}
	}
	if s.ObservedGeneration < 0 {
		e.invalid(statusPath.Child("observedGeneration"), s.ObservedGeneration, "must be a non-negative integer")
	}
	for i, c := range s.Conditions {
		e.check(statusPath.Child("conditions").Index(i), "Type", string(c.Type), validation.IsQualifiedName)
		if c.ObservedGeneration < 0 {
			e.invalid(statusPath.Child("conditions").Index(i).Child("observedGeneration"), c.ObservedGeneration, "must be a non-negative integer")
		}
	}
	ended(e, s.ContainerStatuses, old.Status.ContainerStatuses, old.Spec.Containers, old.Spec.RestartPolicy, "containerStatuses")
	ended(e, s.InitContainerStatuses, old.Status.InitContainerStatuses, old.Spec.InitContainers, old.Spec.RestartPolicy, "initContainerStatuses")
	if old.Status.QOSClass != "" {
		e.immutable(statusPath, "qosClass", s.QOSClass, s.QOSClass == old.Status.QOSClass)
	}
	podIPs(e, s)
	claimStatuses(e, p)
}

// claimStatuses judges what became of the claims that a pod names.
func claimStatuses(e *problems, p *corev1.Pod) {
	for i, c := range p.Status.ResourceClaimStatuses {
		at := statusPath.Child("resourceClaimStatuses").Index(i)
		if !slices.ContainsFunc(p.Spec.ResourceClaims, func(o corev1.PodResourceClaim) bool { return o.Name == c.Name }) {
			e.invalid(at.Child("name"), c.Name, "must match the name of an entry in `spec.resourceClaims`")
		}
		if slices.ContainsFunc(p.Status.ResourceClaimStatuses[:i], func(o corev1.PodResourceClaimStatus) bool { return o.Name == c.Name }) {
			e.add(field.Duplicate(at.Child("name"), c.Name))
		}
		if n := c.ResourceClaimName; n != nil {
			e.check(at, "resourceClaimName", *n, dnsSubdomain)
		}
	}
	x := p.Status.ExtendedResourceClaimStatus
	if x == nil {
		return
	}
	at := statusPath.Child("extendedResourceClaimStatus")
	if len(x.RequestMappings) == 0 {
		e.required(at.Child("requestMappings"), "at least one request mapping is required")
	}
	e.checked(at, "resourceClaimName", x.ResourceClaimName, dnsSubdomain)
	for i, m := range x.RequestMappings {
		is := func(o corev1.Container) bool { return o.Name == m.ContainerName }
		if !slices.ContainsFunc(p.Spec.InitContainers, is) && !slices.ContainsFunc(p.Spec.Containers, is) {
			e.invalid(at.Child("requestMappings").Index(i).Child("containerName"), m.ContainerName,
				"must match the name of an entry in spec.initContainers.name or spec.containers.name")
		} else if asks := func(o corev1.Container) bool {
			_, ok := o.Resources.Requests[corev1.ResourceName(m.ResourceName)]
			return ok
		}; !slices.ContainsFunc(p.Spec.InitContainers, asks) && !slices.ContainsFunc(p.Spec.Containers, asks) {
			e.invalid(at.Child("requestMappings").Index(i).Child("resourceName"), m.ResourceName,
				"must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests")
		}
		e.check(at, "requestName", m.RequestName, dnsLabel)
		if slices.Contains(x.RequestMappings[:i], m) {
			at := at.Child("requestMappings").Index(i)
			e.add(field.Duplicate(at.Child("containerName"), m.ContainerName), field.Duplicate(at.Child("resourceName"), m.ResourceName),
				field.Duplicate(at.Child("requestName"), m.RequestName))
		}
	}
}

// ended checks that what ended for good does not run again.
func ended(e *problems, list, old []corev1.ContainerStatus, containers []corev1.Container, policy corev1.RestartPolicy, name string) {
	if policy == corev1.RestartPolicyAlways {
		return
	}
	for i := range old {
		o := &old[i]
		t := o.State.Terminated
		if t == nil || t.ExitCode != 0 && policy == corev1.RestartPolicyOnFailure {
			continue
		}
		own := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == o.Name })
		if own >= 0 && (containers[own].RestartPolicy != nil || len(containers[own].RestartPolicyRules) > 0) {
			continue
		}
		for j := range list {
			if list[j].Name == o.Name && list[j].State.Terminated == nil {
				e.forbidden(statusPath.Child(name).Index(j).Child("state"), "may not be transitioned to non-terminated state")
			}
		}
	}
}

func podIPs(e *problems, s *corev1.PodStatus) {
	if len(s.HostIPs) > 0 && s.HostIP != s.HostIPs[0].IP {
		e.invalid(statusPath.Child("hostIPs").Index(0).Child("ip"), s.HostIPs[0].IP, "must be equal to `hostIP`")
	}
	var pod, host []string
	for _, ip := range s.PodIPs {
		pod = append(pod, ip.IP)
	}
	for _, ip := range s.HostIPs {
		host = append(host, ip.IP)
	}
	oneOfFamilies(e, pod, s.PodIPs, statusPath.Child("podIPs"))
	oneOfFamilies(e, host, s.HostIPs, statusPath.Child("hostIPs"))
}

// oneOfFamilies judges addresses of which there may be one of each family.
func oneOfFamilies(e *problems, ips []string, shown any, at *field.Path) {
	for i, ip := range ips {
		e.all(e.ip(at.Index(i), ip))
		e.warnIP(at.Index(i).Child("ip"), ip)
	}
	if len(ips) < 2 {
		return
	}
	dual, err := netutils.IsDualStackIPStrings(ips)
	if err != nil {
		e.add(field.InternalError(at, fmt.Errorf("failed to check for dual stack with error:%w", err)))
	}
	if !dual || len(ips) > 2 {
		e.invalid(at, shown, "may specify no more than one IP for each IP family")
	}
}

func podEphemeralUpdate(e *problems, p, old *corev1.Pod) {
	podWhole(e, p)
	var removed, changed []string
	for i := range old.Spec.EphemeralContainers {
		o := &old.Spec.EphemeralContainers[i]
		j := slices.IndexFunc(p.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == o.Name })
		switch {
		case j < 0:
			removed = append(removed, o.Name)
		case !apiequality.Semantic.DeepEqual(o, &p.Spec.EphemeralContainers[j]):
			changed = append(changed, o.Name)
		}
	}
	at := specPath.Child("ephemeralContainers")
	for _, name := range removed {
		e.forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", name))
	}
	for _, name := range changed {
		e.forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be changed\n", name))
	}
}

// podResize judges a change of what a running pod has (KEP-1287).
func podResize(e *problems, p, old *corev1.Pod) {
	podWhole(e, p)
	if class := cmp.Or(old.Status.QOSClass, PodQOS(old)); PodQOS(p) != class {
		e.invalid(specPath, class, "Pod QOS Class may not change as a result of resizing")
	}
	s, was := &p.Spec, &old.Spec
	if len(s.Containers) != len(was.Containers) || len(s.InitContainers) != len(was.InitContainers) {
		e.forbidden(specPath, "only cpu and memory resources are mutable")
		return
	}
	left := s.DeepCopy()
	reset := func(list, old []corev1.Container, name string) {
		for i := range list {
			for _, r := range []struct {
				field    string
				now, was corev1.ResourceList
			}{{"limits", list[i].Resources.Limits, old[i].Resources.Limits}, {"requests", list[i].Resources.Requests, old[i].Resources.Requests}} {
				for n := range ordered(r.was) {
					if _, ok := r.now[n]; !ok {
						e.forbidden(specPath.Child(name).Index(i).Child("resources", r.field), "resource "+r.field+" cannot be removed")
						break
					}
				}
				for n, q := range ordered(r.now) {
					if o, ok := r.was[n]; n != corev1.ResourceCPU && n != corev1.ResourceMemory && (!ok || q.Cmp(o) != 0) {
						e.forbidden(specPath, "only cpu and memory resources are mutable")
					}
				}
			}
			list[i].Resources.Limits, list[i].Resources.Requests = old[i].Resources.Limits, old[i].Resources.Requests
		}
	}
	reset(left.Containers, was.Containers, "containers")
	reset(left.InitContainers, was.InitContainers, "initContainers")
	if !sameSpec(left, was) {
		e.forbidden(specPath, "only cpu and memory resources are mutable\n"+diff.Diff(was, left))
	}
}
