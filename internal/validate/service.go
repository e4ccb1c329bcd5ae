package validate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

var serviceRules = &rules{ // never changed
	// Names may start with a digit (KEP-5311).
	name:         apivalidation.NameIsDNSLabel,
	create:       rule(service),
	update:       change(serviceUpdate),
	subresources: subresources{"status": same(serviceStatus)},
	warnings:     warning(serviceWarnings),
}

func service(e *problems, svc *corev1.Service) {
	s := &svc.Spec
	headless := len(s.ClusterIPs) > 0 && s.ClusterIPs[0] == corev1.ClusterIPNone || s.ClusterIP == corev1.ClusterIPNone
	if len(s.Ports) == 0 && !headless && s.Type != corev1.ServiceTypeExternalName {
		e.required(specPath.Child("ports"), "")
	}
	switch s.Type {
	case corev1.ServiceTypeLoadBalancer:
		for i := range s.Ports {
			if s.Ports[i].Port == 10250 {
				e.invalid(specPath.Child("ports").Index(i), s.Ports[i].Port, "may not expose port 10250 externally since it is used by kubelet")
			}
		}
		if headless {
			e.invalid(specPath.Child("clusterIPs").Index(0), corev1.ClusterIPNone, "may not be set to 'None' for LoadBalancer services")
		}
	case corev1.ServiceTypeNodePort:
		if headless {
			e.invalid(specPath.Child("clusterIPs").Index(0), corev1.ClusterIPNone, "may not be set to 'None' for NodePort services")
		}
	case corev1.ServiceTypeExternalName:
		externalName(e, s)
	}
	servicePorts(e, s)
	if s.Selector != nil {
		e.all(metavalidation.ValidateLabels(s.Selector, specPath.Child("selector")))
	}
	affinityOfClients(e, s)
	clusterIPs(e, s)
	for i, ip := range s.ExternalIPs {
		endpointIP(e, ip, specPath.Child("externalIPs").Index(i))
	}
	givenOneOf(e, specPath, "type", s.Type,
		corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)
	loadBalancer(e, s)
	trafficPolicies(e, s)
}

func externalName(e *problems, s *corev1.ServiceSpec) {
	const text = "may not be set for ExternalName services"
	if len(s.ClusterIPs) > 0 {
		e.forbidden(specPath.Child("clusterIPs"), text)
	}
	if len(s.IPFamilies) > 0 {
		e.forbidden(specPath.Child("ipFamilies"), text)
	}
	if s.IPFamilyPolicy != nil {
		e.forbidden(specPath.Child("ipFamilyPolicy"), text)
	}
	if name := strings.TrimSuffix(s.ExternalName, "."); name == "" {
		e.required(specPath.Child("externalName"), "")
	} else {
		e.texts(specPath.Child("externalName"), name, dnsSubdomain(name))
	}
}

func servicePorts(e *problems, s *corev1.ServiceSpec) {
	at := specPath.Child("ports")
	for i := range s.Ports {
		p, at := &s.Ports[i], at.Index(i)
		if len(s.Ports) > 1 && p.Name == "" {
			e.required(at.Child("name"), "")
		} else if p.Name != "" {
			e.check(at, "name", p.Name, dnsLabel)
			if slices.ContainsFunc(s.Ports[:i], func(o corev1.ServicePort) bool { return o.Name == p.Name }) {
				e.add(field.Duplicate(at.Child("name"), p.Name))
			}
		}
		portNumber(e, at, "port", p.Port)
		givenOneOf(e, at, "protocol", p.Protocol, protocols...)
		port(e, p.TargetPort, at.Child("targetPort"))
		if a := p.AppProtocol; a != nil {
			e.check(at, "appProtocol", *a, validation.IsQualifiedName)
		}
	}
	if s.Type == corev1.ServiceTypeClusterIP {
		for i := range s.Ports {
			if s.Ports[i].NodePort != 0 {
				e.forbidden(at.Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'")
			}
		}
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.NodePort != 0 && slices.ContainsFunc(s.Ports[:i], func(o corev1.ServicePort) bool {
			return o.NodePort == p.NodePort && o.Protocol == p.Protocol
		}) {
			e.add(field.Duplicate(at.Index(i).Child("nodePort"), p.NodePort))
		}
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		if slices.ContainsFunc(s.Ports[:i], func(o corev1.ServicePort) bool { return o.Port == p.Port && o.Protocol == p.Protocol }) {
			e.add(field.Duplicate(at.Index(i), servicePortShown{Protocol: p.Protocol, Port: p.Port}))
		}
	}
}

// servicePortShown is a port as upstream shows it: with all fields, under their names in Go.
type servicePortShown struct {
	Name        string
	Protocol    corev1.Protocol
	AppProtocol *string
	Port        int32
	TargetPort  intstr.IntOrString
	NodePort    int32
}

// longestStick is how many seconds a client may stay with an endpoint: a day.
const longestStick = 86400

func affinityOfClients(e *problems, s *corev1.ServiceSpec) {
	givenOneOf(e, specPath, "sessionAffinity", s.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	at := specPath.Child("sessionAffinityConfig")
	c := s.SessionAffinityConfig
	if s.SessionAffinity == corev1.ServiceAffinityNone {
		if c != nil {
			e.forbidden(at, fmt.Sprintf("must not be set when session affinity is %s", corev1.ServiceAffinityNone))
		}
		return
	}
	if s.SessionAffinity != corev1.ServiceAffinityClientIP {
		return
	}
	needed := fmt.Sprintf("when session affinity type is %s", corev1.ServiceAffinityClientIP)
	switch {
	case c == nil:
		e.required(at, needed)
	case c.ClientIP == nil:
		e.required(at.Child("clientIP"), needed)
	case c.ClientIP.TimeoutSeconds == nil:
		e.required(at.Child("clientIP", "timeoutSeconds"), needed)
	case *c.ClientIP.TimeoutSeconds <= 0 || *c.ClientIP.TimeoutSeconds > longestStick:
		e.invalid(at.Child("clientIP", "timeoutSeconds"), *c.ClientIP.TimeoutSeconds,
			fmt.Sprintf("must be greater than 0 and less than %d", longestStick))
	}
}

func clusterIPs(e *problems, s *corev1.ServiceSpec) {
	if s.Type == corev1.ServiceTypeExternalName {
		return
	}
	at := specPath.Child("clusterIPs")
	switch {
	case len(s.ClusterIPs) == 0:
		if s.ClusterIP != "" {
			e.required(at, "")
		}
	case s.ClusterIPs[0] != s.ClusterIP:
		e.invalid(at, s.ClusterIPs, "first value must match `clusterIP`")
	}
	optionalOneOf(e, specPath, "ipFamilyPolicy", s.IPFamilyPolicy,
		corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)
	for i, f := range s.IPFamilies {
		at := specPath.Child("ipFamilies").Index(i)
		if !isFamily(f) {
			e.add(field.NotSupported(at, f, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}))
		}
		if slices.Contains(s.IPFamilies[:i], f) {
			e.add(field.Duplicate(at, f))
		}
	}
	if len(s.ClusterIPs) > 2 {
		e.add(field.Invalid(at, s.ClusterIPs, "may only hold up to 2 values"))
	}
	var families []corev1.IPFamily
	for i, ip := range s.ClusterIPs {
		at := at.Index(i)
		if ip == corev1.ClusterIPNone {
			if len(s.ClusterIPs) > 1 {
				e.invalid(at, ip, "'None' must be the first and only value")
			}
			return
		}
		e.all(e.ip(at, ip))
		e.warnIP(at, ip)
		f := family(ip)
		if f == "" {
			continue
		}
		if i < len(s.IPFamilies) && f != s.IPFamilies[i] && isFamily(s.IPFamilies[i]) {
			e.invalid(at, ip, fmt.Sprintf("expected an %v value as indicated by `ipFamilies[%v]`", s.IPFamilies[i], i))
		}
		families = append(families, f)
	}
	if len(families) == 2 && families[0] == families[1] {
		e.invalid(at, s.ClusterIPs, "may specify no more than one IP for each IP family")
	}
}

func isFamily(f corev1.IPFamily) bool { return f == corev1.IPv4Protocol || f == corev1.IPv6Protocol }

// ServiceAddresses judges what a Service's addresses are given by. Who gives
// them asks first, and nothing else is said of a Service that they are wrong of.
func ServiceAddresses(svc *corev1.Service, old runtime.Object) field.ErrorList {
	e := problems{old: old}
	clusterIPs(&e, &svc.Spec)
	return e.list
}

// family returns that of an address, or "" if it is none.
func family(ip string) corev1.IPFamily {
	a, err := netip.ParseAddr(ip)
	switch {
	case err != nil:
		return ""
	case a.Is4():
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

func loadBalancer(e *problems, s *corev1.ServiceSpec) {
	const only = "may only be used when `type` is 'LoadBalancer'"
	e.warnIP(specPath.Child("loadBalancerIP"), s.LoadBalancerIP)
	is := s.Type == corev1.ServiceTypeLoadBalancer
	ranges := specPath.Child("LoadBalancerSourceRanges")
	if len(s.LoadBalancerSourceRanges) > 0 && !is {
		e.forbidden(ranges, only)
	}
	for i, r := range s.LoadBalancerSourceRanges {
		e.all(e.cidr(ranges.Index(i), strings.TrimSpace(r)))
		e.warnCIDR(specPath.Child("loadBalancerSourceRanges").Index(i), strings.TrimSpace(r))
	}
	if is && s.AllocateLoadBalancerNodePorts == nil {
		e.required(specPath.Child("allocateLoadBalancerNodePorts"), "")
	}
	if !is && s.AllocateLoadBalancerNodePorts != nil {
		e.forbidden(specPath.Child("allocateLoadBalancerNodePorts"), only)
	}
	if c := s.LoadBalancerClass; c != nil {
		if !is {
			e.forbidden(specPath.Child("loadBalancerClass"), only)
		} else {
			e.check(specPath, "loadBalancerClass", *c, validation.IsQualifiedName)
		}
	}
}

func trafficPolicies(e *problems, s *corev1.ServiceSpec) {
	outside := s.Type == corev1.ServiceTypeLoadBalancer || s.Type == corev1.ServiceTypeNodePort ||
		s.Type == corev1.ServiceTypeClusterIP && len(s.ExternalIPs) > 0
	switch {
	case !outside && s.ExternalTrafficPolicy != "":
		e.invalid(specPath.Child("externalTrafficPolicy"), s.ExternalTrafficPolicy, "may only be set for externally-accessible services")
	case outside:
		givenOneOf(e, specPath, "externalTrafficPolicy", s.ExternalTrafficPolicy,
			corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
	}
	if n := s.HealthCheckNodePort; n != 0 {
		if s.Type != corev1.ServiceTypeLoadBalancer || s.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
			e.invalid(specPath.Child("healthCheckNodePort"), n, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'")
		}
	}
	if s.InternalTrafficPolicy == nil {
		if s.Type != corev1.ServiceTypeExternalName {
			e.required(specPath.Child("internalTrafficPolicy"), "")
		}
	} else {
		oneOf(e, specPath, "internalTrafficPolicy", *s.InternalTrafficPolicy,
			corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)
	}
	optionalOneOf(e, specPath, "trafficDistribution", s.TrafficDistribution,
		corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameNode, corev1.ServiceTrafficDistributionPreferSameZone)
}

func serviceUpdate(e *problems, svc, old *corev1.Service) {
	addressesUpdate(e, &svc.Spec, &old.Spec)
	if c, was := svc.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass; svc.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		old.Spec.Type == corev1.ServiceTypeLoadBalancer && !sameSpec(c, was) {
		e.invalid(specPath.Child("loadBalancerClass"), c, "may not change once set")
	}
	service(e, svc)
}

// addressesUpdate keeps a Service's first address and family.
func addressesUpdate(e *problems, s, old *corev1.ServiceSpec) {
	if s.Type == corev1.ServiceTypeExternalName || old.Type == corev1.ServiceTypeExternalName {
		return
	}
	const fixed = "may not change once set"
	ips, families := specPath.Child("clusterIPs"), specPath.Child("ipFamilies")
	switch {
	case len(old.ClusterIPs) == 0:
	case len(s.ClusterIPs) == 0:
		e.invalid(ips, s.ClusterIPs, "primary clusterIP can not be unset")
	case s.ClusterIPs[0] != old.ClusterIPs[0]:
		e.invalid(ips.Index(0), s.ClusterIPs, fixed)
	case len(old.ClusterIPs) == 2 && len(s.ClusterIPs) == 2 && s.ClusterIPs[1] != old.ClusterIPs[1]:
		e.invalid(ips.Index(1), s.ClusterIPs, fixed)
	case len(old.ClusterIPs) == 2 && len(s.ClusterIPs) == 1 && (s.IPFamilyPolicy == nil || *s.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack):
		e.invalid(specPath.Child("ipFamilyPolicy"), s.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary clusterIP")
	}
	switch {
	case len(old.IPFamilies) == 0:
	case len(s.IPFamilies) == 0:
		e.invalid(families, s.IPFamilies, "primary ipFamily can not be unset")
	case s.IPFamilies[0] != old.IPFamilies[0]:
		e.invalid(families.Index(0), s.IPFamilies, fixed)
	case len(old.IPFamilies) == 2 && len(s.IPFamilies) == 2 && s.IPFamilies[1] != old.IPFamilies[1]:
		e.invalid(families.Index(1), s.IPFamilies, fixed)
	}
}

func serviceStatus(e *problems, s *corev1.Service) {
	at := statusPath.Child("loadBalancer", "ingress")
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Status.LoadBalancer.Ingress) > 0 {
		e.forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'")
		return
	}
	for i, in := range s.Status.LoadBalancer.Ingress {
		at := at.Index(i)
		if in.IP != "" {
			e.all(e.ip(at.Child("ip"), in.IP))
			e.warnIP(at, in.IP)
			if in.IPMode == nil {
				e.required(at.Child("ipMode"), "must be specified when `ip` is set")
			}
		} else if in.IPMode != nil {
			e.forbidden(at.Child("ipMode"), "may not be specified when `ip` is not set")
		}
		optionalOneOf(e, at, "ipMode", in.IPMode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)
		if in.Hostname != "" {
			e.check(at, "hostname", in.Hostname, dnsSubdomain)
			if netutils.ParseIPSloppy(in.Hostname) != nil {
				e.invalid(at.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address")
			}
		}
	}
}

func serviceWarnings(s, old *corev1.Service) []string {
	var out []string
	if s.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.ClusterIP == corev1.ClusterIPNone {
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"externalIPs", len(s.Spec.ExternalIPs) > 0}, {"loadBalancerIP", s.Spec.LoadBalancerIP != ""},
			{"SessionAffinity", s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP},
		} {
			if f.set {
				out = append(out, "spec."+f.name+" is ignored for headless services")
			}
		}
	}
	if len(s.Spec.ExternalIPs) > 0 && s.Spec.Type == corev1.ServiceTypeExternalName {
		out = append(out, fmt.Sprintf("spec.externalIPs is ignored when spec.type is %q", s.Spec.Type))
	}
	if used := s.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.ClusterIP != corev1.ClusterIPNone; used && len(s.Spec.ExternalIPs) > 0 {
		out = append(out, "spec.externalIPs is deprecated and may no longer be implemented in some clusters")
	}
	if s.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.ExternalName != "" {
		out = append(out, fmt.Sprintf("spec.externalName is ignored when spec.type is not %q", corev1.ServiceTypeExternalName))
	}
	if d := s.Spec.TrafficDistribution; d != nil && *d == corev1.ServiceTrafficDistributionPreferClose && old == nil {
		out = append(out, fmt.Sprintf("spec.trafficDistribution: %q is deprecated; use %q instead",
			corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone))
	}
	return out
}

// endpointIP judges an address that traffic goes to: those that mean something
// on each node, or to each, would give what is the node's own.
func endpointIP(e *problems, ip string, at *field.Path) {
	if errs := e.ip(at, ip); len(errs) > 0 {
		e.all(errs)
		return
	}
	e.warnIP(at, ip)
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return // an old form, which is left to what it means elsewhere
	}
	a = a.Unmap()
	switch {
	case a.IsUnspecified():
		e.invalid(at, ip, fmt.Sprintf("may not be unspecified (%v)", ip))
	case a.IsLoopback():
		e.invalid(at, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
	case a.IsLinkLocalUnicast():
		e.invalid(at, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
	case a.IsLinkLocalMulticast():
		e.invalid(at, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
	}
}
