package validate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var podRules = &rules{ // never changed
	create: rule(podCreate),
	update: change(podUpdate),
	subresources: subresources{
		"status":              change(podStatusUpdate),
		"ephemeralcontainers": change(podEphemeralUpdate),
		"resize":              change(podResize),
	},
	warnings: warning(podWarnings),
}

var (
	specPath       = field.NewPath("spec")
	statusPath     = field.NewPath("status")
	containersPath = specPath.Child("containers")
)

func podCreate(e *problems, p *corev1.Pod) {
	podWhole(e, p)
	if len(p.Spec.EphemeralContainers) > 0 {
		e.forbidden(specPath.Child("ephemeralContainers"), "cannot be set on create")
	}
	if p.Spec.NodeName != "" && len(p.Spec.SchedulingGates) > 0 {
		e.forbidden(specPath.Child("nodeName"), "cannot be set until all schedulingGates have been cleared")
	}
}

// podWhole is what holds for pods, of which some does not for their templates.
func podWhole(e *problems, p *corev1.Pod) {
	podSpec(e, &p.Spec, p.Name, specPath)
	if p.Spec.ServiceAccountName == "" {
		for i := range p.Spec.Volumes {
			projected := p.Spec.Volumes[i].Projected
			if projected == nil {
				continue
			}
			for j := range projected.Sources {
				if projected.Sources[j].ServiceAccountToken != nil {
					e.forbidden(specPath.Child("volumes").Index(i).Child("projected", "sources").Index(j).Child("serviceAccountToken"),
						"must not be specified when serviceAccountName is not set")
				}
			}
		}
	}
	images(e, p.Spec.Containers, containersPath)
	images(e, p.Spec.InitContainers, specPath.Child("initContainers"))
}

func images(e *problems, containers []corev1.Container, at *field.Path) {
	for i := range containers {
		if image := containers[i].Image; image != "" && strings.TrimSpace(image) != image {
			e.invalid(at.Index(i).Child("image"), image, "must not have leading or trailing whitespace")
		}
	}
}

// podTemplate judges the template of a workload's pods.
func podTemplate(e *problems, t *corev1.PodTemplateSpec, at *field.Path) {
	templateMeta(e, &t.ObjectMeta, at) // as upstream names them
	podSpec(e, &t.Spec, "", at.Child("spec"))
	if len(t.Spec.EphemeralContainers) > 0 {
		e.forbidden(at.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template")
	}
}

func templateMeta(e *problems, m *metav1.ObjectMeta, at *field.Path) {
	e.all(metavalidation.ValidateLabels(m.Labels, at.Child("labels")))
	e.all(apivalidation.ValidateAnnotations(m.Annotations, at.Child("annotations")))
}

// podSpec judges what pods and templates have in common; a template's pods have no name so far.
func podSpec(e *problems, s *corev1.PodSpec, name string, at *field.Path) {
	if s.TerminationGracePeriodSeconds == nil {
		e.required(at.Child("terminationGracePeriodSeconds"), "")
	}
	v := volumes(e, s.Volumes, name, at.Child("volumes"))
	resourceClaims(e, s.ResourceClaims, at.Child("resourceClaims"))
	podContainers(e, s, v, at)
	if s.Resources != nil {
		podResources(e, s, at.Child("resources"))
	}
	givenOneOf(e, at, "restartPolicy", s.RestartPolicy, corev1.RestartPolicyAlways, corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure)
	givenOneOf(e, at, "dnsPolicy", s.DNSPolicy, corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet, corev1.DNSDefault, corev1.DNSNone)
	if len(s.NodeSelector) > 0 {
		e.all(metavalidation.ValidateLabels(s.NodeSelector, at.Child("nodeSelector")))
	}
	if s.SecurityContext != nil {
		podSecurity(e, s, at.Child("securityContext"))
	}
	hostProcesses(e, s, at)
	hostNetwork(e, s, at)
	if s.Affinity != nil {
		affinity(e, s.Affinity, at.Child("affinity"))
	}
	dnsConfig(e, s, at.Child("dnsConfig"))
	for i, g := range s.ReadinessGates {
		e.check(at.Child("readinessGates").Index(i), "conditionType", string(g.ConditionType), validation.IsQualifiedName)
	}
	schedulingGates(e, s.SchedulingGates, at.Child("schedulingGates"))
	if len(s.TopologySpreadConstraints) > 0 {
		topologySpread(e, s.TopologySpreadConstraints, at.Child("topologySpreadConstraints"))
	}
	optionally := func(name, value string, check func(string) []string) {
		if value != "" {
			e.check(at, name, value, check)
		}
	}
	optionally("serviceAccountName", s.ServiceAccountName, dnsSubdomain)
	optionally("nodeName", s.NodeName, dnsSubdomain)
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		e.invalid(at.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32))
	}
	optionally("hostname", s.Hostname, dnsLabel)
	optionally("subdomain", s.Subdomain, dnsLabel)
	hostnames(e, s, at)
	if len(s.Tolerations) > 0 {
		tolerations(e, s.Tolerations, at.Child("tolerations"))
	}
	for i, a := range s.HostAliases {
		alias := at.Child("hostAliases").Index(i)
		e.all(e.ip(alias.Child("ip"), a.IP))
		for j, name := range a.Hostnames {
			e.texts(alias.Child("hostnames").Index(j), name, dnsSubdomain(name))
		}
	}
	optionally("priorityClassName", s.PriorityClassName, dnsSubdomain)
	if s.RuntimeClassName != nil {
		e.check(at, "runtimeClassName", *s.RuntimeClassName, dnsSubdomain)
	}
	if p := s.PreemptionPolicy; p != nil {
		givenOneOf(e, at, "preemptionPolicy", *p, corev1.PreemptLowerPriority, corev1.PreemptNever)
	}
	if len(s.Overhead) > 0 {
		quantities(e, s.Overhead, at.Child("overhead", "limits"), containerResource)
	}
	if s.OS != nil {
		podOS(e, s, at)
	}
}

// hostnames judges what says what a pod is called inside.
func hostnames(e *problems, s *corev1.PodSpec, at *field.Path) {
	o := s.HostnameOverride
	if o == nil {
		return
	}
	e.check(at, "hostnameOverride", *o, dnsSubdomain)
	if len(*o) > 64 {
		e.add(field.TooLong(at.Child("hostnameOverride"), *o, 64))
	}
	if s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN {
		e.forbidden(at.Child("hostnameOverride"), "may not be specified when setHostnameAsFQDN is true")
	}
	if s.HostNetwork {
		e.forbidden(at.Child("hostnameOverride"), "may not be specified when hostNetwork is true")
	}
}

func resourceClaims(e *problems, claims []corev1.PodResourceClaim, at *field.Path) {
	for i, c := range claims {
		at := at.Index(i)
		e.checked(at, "name", c.Name, dnsLabel)
		if c.Name != "" && slices.ContainsFunc(claims[:i], func(o corev1.PodResourceClaim) bool { return o.Name == c.Name }) {
			e.add(field.Duplicate(at.Child("name"), c.Name))
		}
		switch {
		case c.ResourceClaimName != nil && c.ResourceClaimTemplateName != nil:
			e.invalid(at, c, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
		case c.ResourceClaimName == nil && c.ResourceClaimTemplateName == nil:
			e.invalid(at, c, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
		}
		if n := c.ResourceClaimName; n != nil {
			e.check(at, "resourceClaimName", *n, dnsSubdomain)
		}
		if n := c.ResourceClaimTemplateName; n != nil {
			e.check(at, "resourceClaimTemplateName", *n, dnsSubdomain)
		}
	}
}

func schedulingGates(e *problems, gates []corev1.PodSchedulingGate, at *field.Path) {
	for i, g := range gates {
		if texts := validation.IsQualifiedName(g.Name); len(texts) > 0 {
			e.texts(at.Index(i), g.Name, texts)
		}
		if slices.Contains(gates[:i], g) {
			e.add(field.Duplicate(at.Index(i), g.Name))
		}
	}
}

// podOS judges what a pod says of the system that it is for.
func podOS(e *problems, s *corev1.PodSpec, at *field.Path) {
	if s.OS.Name == "" {
		e.required(at.Child("os", "name"), "")
		return
	}
	oneOf(e, at, "os", s.OS.Name, corev1.Linux, corev1.Windows)
	switch s.OS.Name {
	case corev1.Linux:
		const text = "windows options cannot be set for a linux pod"
		if s.SecurityContext != nil && s.SecurityContext.WindowsOptions != nil {
			e.forbidden(at.Child("securityContext", "windowsOptions"), text)
		}
		eachContainer(s, at, func(c *corev1.Container, at *field.Path) {
			if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
				e.forbidden(at.Child("securityContext", "windowsOptions"), text)
			}
		})
	case corev1.Windows:
		podWindows(e, s, at)
	}
}

func podWindows(e *problems, s *corev1.PodSpec, at *field.Path) {
	const text = "cannot be set for a windows pod"
	no := func(at *field.Path, set bool, names ...string) {
		if set {
			e.forbidden(at.Child(names[0], names[1:]...), text)
		}
	}
	no(at, s.HostPID, "hostPID")
	no(at, s.HostIPC, "hostIPC")
	no(at, s.HostUsers != nil, "hostUsers")
	if c := s.SecurityContext; c != nil {
		at := at.Child("securityContext")
		no(at, c.AppArmorProfile != nil, "appArmorProfile")
		no(at, c.SELinuxOptions != nil, "seLinuxOptions")
		no(at, c.SeccompProfile != nil, "seccompProfile")
		no(at, c.FSGroup != nil, "fsGroup")
		no(at, c.FSGroupChangePolicy != nil, "fsGroupChangePolicy")
		no(at, len(c.Sysctls) > 0, "sysctls")
		no(at, c.RunAsUser != nil, "runAsUser")
		no(at, c.RunAsGroup != nil, "runAsGroup")
		no(at, c.SupplementalGroups != nil, "supplementalGroups")
		no(at, c.SupplementalGroupsPolicy != nil, "supplementalGroupsPolicy")
	}
	no(at, s.ShareProcessNamespace != nil, "shareProcessNamespace")
	eachContainer(s, at, func(c *corev1.Container, at *field.Path) {
		sc := c.SecurityContext
		if sc == nil {
			return
		}
		at = at.Child("securityContext")
		no(at, sc.AppArmorProfile != nil, "appArmorProfile")
		no(at, sc.SELinuxOptions != nil, "seLinuxOptions")
		no(at, sc.SeccompProfile != nil, "seccompProfile")
		no(at, sc.Capabilities != nil, "capabilities")
		no(at, sc.ReadOnlyRootFilesystem != nil, "readOnlyRootFilesystem")
		no(at, sc.Privileged != nil, "privileged")
		no(at, sc.AllowPrivilegeEscalation != nil, "allowPrivilegeEscalation")
		no(at, sc.ProcMount != nil, "procMount")
		no(at, sc.RunAsUser != nil, "runAsUser")
		no(at, sc.RunAsGroup != nil, "runAsGroup")
	})
}

// eachContainer calls f with all of a pod's containers and their paths.
func eachContainer(s *corev1.PodSpec, at *field.Path, f func(*corev1.Container, *field.Path)) {
	for i := range s.InitContainers {
		f(&s.InitContainers[i], at.Child("initContainers").Index(i))
	}
	for i := range s.Containers {
		f(&s.Containers[i], at.Child("containers").Index(i))
	}
	for i := range s.EphemeralContainers {
		c := corev1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		f(&c, at.Child("ephemeralContainers").Index(i))
	}
}

// selector checks a label selector, which may be nil.
func selector(e *problems, s *metav1.LabelSelector, at *field.Path) {
	e.all(metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at))
}

func podWarnings(p, old *corev1.Pod) []string {
	if old != nil && sameSpec(&p.Spec, &old.Spec) {
		return nil
	}
	out := specWarnings(&p.Spec, specPath)
	if old == nil {
		out = append(out, nameWarnings(p.Name, "the Pod's hostname")...)
	}
	return out
}

// nameWarnings warns of the name of a new object that is no label, of which more is made.
func nameWarnings(name, uses string) []string {
	if texts := dnsLabel(name); name != "" && len(texts) > 0 {
		return []string{fmt.Sprintf("metadata.name: this is used in %s, which can result in surprising behavior; a DNS label is recommended: %v", uses, texts)}
	}
	return nil
}

const podNames = "Pod names and hostnames"

// fractional warns of parts of bytes.
func fractional(list corev1.ResourceList, name corev1.ResourceName, at *field.Path) []string {
	if q, ok := list[name]; ok && !q.IsZero() && q.MilliValue()%1000 != 0 {
		return []string{fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer", at.Key(string(name)), q.String())}
	}
	return nil
}

// affinityWarnings warns of terms that are about no pod.
func affinityWarnings(a *corev1.Affinity, at *field.Path) (out []string) {
	see := func(t *corev1.PodAffinityTerm, at *field.Path) {
		if t.LabelSelector == nil {
			out = append(out, at.Child("labelSelector").String()+": a null labelSelector results in matching no pod")
		}
	}
	all := func(must []corev1.PodAffinityTerm, should []corev1.WeightedPodAffinityTerm, at *field.Path) {
		for i := range must {
			see(&must[i], at.Child(mustHold).Index(i))
		}
		for i := range should {
			see(&should[i].PodAffinityTerm, at.Child(shouldHold).Index(i).Child("podAffinityTerm"))
		}
	}
	if p := a.PodAffinity; p != nil {
		all(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))
	}
	if p := a.PodAntiAffinity; p != nil {
		all(p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))
	}
	return out
}

// The labels of nodes that have newer names.
var oldNodeLabels = []struct{ name, text string }{ // never changed
	{"beta.kubernetes.io/arch", `deprecated since v1.14; use "kubernetes.io/arch" instead`},
	{"beta.kubernetes.io/os", `deprecated since v1.14; use "kubernetes.io/os" instead`},
	{"failure-domain.beta.kubernetes.io/region", `deprecated since v1.17; use "topology.kubernetes.io/region" instead`},
	{"failure-domain.beta.kubernetes.io/zone", `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`},
	{"beta.kubernetes.io/instance-type", `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`},
}

// specWarnings returns what is seldom meant in a pod or a template of pods.
func specWarnings(s *corev1.PodSpec, at *field.Path) []string {
	var out []string
	warn := func(at *field.Path, format string, args ...any) {
		out = append(out, at.String()+": "+fmt.Sprintf(format, args...))
	}
	if len(s.NodeSelector) > 0 {
		for _, l := range oldNodeLabels {
			if _, ok := s.NodeSelector[l.name]; ok {
				warn(at.Child("nodeSelector").Key(l.name), "%s", l.text)
			}
		}
	}
	for i := range s.TopologySpreadConstraints {
		if s.TopologySpreadConstraints[i].LabelSelector == nil {
			warn(at.Child("topologySpreadConstraints").Index(i).Child("labelSelector"), "a null labelSelector results in matching no pod")
		}
	}
	for i := range s.Volumes {
		out = append(out, overlaps(&s.Volumes[i])...)
	}
	if c := s.DNSConfig; c != nil {
		for i, ip := range c.Nameservers {
			at := at.Child("dnsConfig", "nameservers").Index(i)
			if len(validation.IsValidIPForLegacyField(at, ip, true, nil)) == 0 {
				out = append(out, validation.GetWarningsForIP(at, ip)...)
			}
		}
	}
	for i := range s.HostAliases {
		ip, at := s.HostAliases[i].IP, at.Child("hostAliases").Index(i).Child("ip")
		if len(validation.IsValidIPForLegacyField(at, ip, true, nil)) == 0 {
			out = append(out, validation.GetWarningsForIP(at, ip)...)
		}
		if slices.ContainsFunc(s.HostAliases[:i], func(o corev1.HostAlias) bool { return o.IP == ip }) {
			warn(at, "duplicate ip %q", ip)
		}
	}
	for i, secret := range s.ImagePullSecrets {
		at := at.Child("imagePullSecrets").Index(i).Child("name")
		if secret.Name == "" {
			warn(at, "invalid empty name %q", secret.Name)
		}
		if slices.Contains(s.ImagePullSecrets[:i], secret) {
			warn(at, "duplicate name %q", secret.Name)
		}
	}
	out = append(out, fractional(s.Overhead, corev1.ResourceMemory, at.Child("overhead"))...)
	if s.Affinity != nil {
		out = append(out, affinityWarnings(s.Affinity, at.Child("affinity"))...)
	}
	if g := s.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		warn(at.Child("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1")
	}
	for i := range s.Containers {
		out = append(out, containerWarnings(&s.Containers[i], at, "containers", i)...)
	}
	for i := range s.InitContainers {
		out = append(out, containerWarnings(&s.InitContainers[i], at, "initContainers", i)...)
	}
	return out
}

func containerWarnings(c *corev1.Container, at *field.Path, list string, i int) []string {
	var out []string
	for j, v := range c.Env {
		for k := j - 1; k >= 0; k-- {
			if c.Env[k].Name == v.Name {
				at := at.Child(list).Index(i).Child("env").Index(j)
				out = append(out, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", at, v.Name))
				break
			}
		}
	}
	for j, p := range c.Ports {
		if p.HostIP != "" && p.HostPort == 0 {
			at := at.Child(list).Index(i).Child("ports").Index(j)
			out = append(out, fmt.Sprintf("%s: hostIP set without hostPort: %+v", at, p))
		}
		for k := range c.Ports[:j] {
			if o := c.Ports[k]; o.ContainerPort == p.ContainerPort && o.Protocol == p.Protocol && o.HostPort == p.HostPort && o.HostIP == p.HostIP {
				ports := at.Child(list).Index(i).Child("ports")
				out = append(out, fmt.Sprintf("%s: duplicate port definition with %s", ports.Index(j), ports.Index(k)))
				break
			}
		}
	}
	for _, r := range []struct {
		name string
		list corev1.ResourceList
	}{{"limits", c.Resources.Limits}, {"requests", c.Resources.Requests}} {
		out = append(out, fractional(r.list, corev1.ResourceMemory, at.Child(list).Index(i).Child("resources", r.name))...)
	}
	return out
}
