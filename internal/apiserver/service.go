package apiserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"

	"clipper/internal/apiserver/allocate"
	"clipper/internal/apiserver/strategy"
	"clipper/internal/validate"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// serviceAllocator gives Services their addresses and node ports, none to two
// of them. The bitmaps are of this process: they are filled from the watch
// cache at start and kept by every write. Several servers on one store would
// put an allocation object of the store in their place, behind take and free.
type serviceAllocator struct {
	mu    sync.Mutex
	cidr  netip.Prefix
	ips   *allocate.Range
	ports *allocate.Range
	// byHand are the addresses that users made objects of; shown, if set, are
	// the objects that show the Services'.
	byHand map[int]bool
	shown  *addresses

	ipCounts, portCounts allocations
}

func newServiceAllocator(cidr netip.Prefix, firstPort, lastPort int32, r rand.Source) (*serviceAllocator, error) {
	if !cidr.IsValid() {
		cidr = netip.MustParsePrefix("10.96.0.0/16")
	}
	ips, err := allocate.Addresses(cidr, r)
	if err != nil {
		return nil, err
	}
	ports, err := allocate.Ports(firstPort, lastPort, r)
	if err != nil {
		return nil, err
	}
	return &serviceAllocator{cidr: cidr.Masked(), ips: ips, ports: ports, byHand: map[int]bool{}}, nil
}

// first is the address of the `kubernetes` Service.
func (a *serviceAllocator) first() netip.Addr { return a.cidr.Addr().Next() }

// held lists what a Service has, as offsets into the ranges.
func (a *serviceAllocator) held(s *corev1.Service) (ips, ports []int) {
	if s == nil {
		return nil, nil
	}
	for _, ip := range clusterIPs(&s.Spec) {
		if n, ok := a.offset(ip); ok {
			ips = append(ips, n)
		}
	}
	add := func(port int32) {
		if n := a.ports.Port(port); port != 0 && n >= 0 && !slices.Contains(ports, n) {
			ports = append(ports, n)
		}
	}
	for _, p := range s.Spec.Ports {
		add(p.NodePort)
	}
	add(s.Spec.HealthCheckNodePort)
	return ips, ports
}

func clusterIPs(s *corev1.ServiceSpec) []string {
	switch {
	case s.Type == corev1.ServiceTypeExternalName, s.ClusterIP == corev1.ClusterIPNone:
		return nil
	case len(s.ClusterIPs) > 0:
		return s.ClusterIPs
	case s.ClusterIP != "":
		return []string{s.ClusterIP}
	}
	return nil
}

func (a *serviceAllocator) offset(ip string) (int, bool) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return 0, false
	}
	n := a.ips.Address(addr)
	return n, n >= 0
}

// mark takes what an existing Service has; it is how the bitmaps are filled.
func (a *serviceAllocator) mark(s *corev1.Service) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ips, ports := a.held(s)
	for _, n := range ips {
		a.ips.Take(n)
	}
	for _, n := range ports {
		a.ports.Take(n)
	}
}

// release frees what a Service had that is gone.
func (a *serviceAllocator) release(o runtime.Object) {
	svc := o.(*corev1.Service)
	ips, ports := a.held(svc)
	a.show(svc, ips, nil) // before another Service may get them
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free(ips, ports)
}

func (a *serviceAllocator) free(ips, ports []int) {
	for _, n := range ips {
		a.ips.Free(n)
	}
	for _, n := range ports {
		a.ports.Free(n)
	}
}

// begin completes a Service with an address and node ports. What it takes is
// kept, and what an update gave up freed, once the write succeeded.
func (a *serviceAllocator) begin(obj, was runtime.Object, dryRun bool) (finish func(error), err error) {
	svc := obj.(*corev1.Service)
	old, _ := was.(*corev1.Service)
	errs := validate.ServiceAddresses(svc)
	if len(errs) == 0 {
		errs = families(&svc.Spec, old, a.cidr)
	}
	if len(errs) > 0 {
		return nil, apierrors.NewInvalid(svc.GroupVersionKind().GroupKind(), svc.Name, errs)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	hadIPs, hadPorts := a.held(old)
	t := taking{a: a, hadIPs: hadIPs, hadPorts: hadPorts, dryRun: dryRun}
	errs = t.take(svc)
	if !dryRun {
		a.ipCounts.add(t.ofIPs)
		a.portCounts.add(t.ofPorts)
	}
	if len(errs) > 0 || t.err != nil {
		a.free(t.ips, t.ports)
		if t.err != nil {
			return nil, apierrors.NewInternalError(t.err)
		}
		return nil, apierrors.NewInvalid(svc.GroupVersionKind().GroupKind(), svc.Name, errs)
	}
	if dryRun {
		a.free(t.ips, t.ports)
		return func(error) {}, nil
	}
	// The object is shared once it is stored, but not changed.
	hasIPs, hasPorts := a.held(svc)
	return func(err error) {
		gone := without(hadIPs, hasIPs)
		if err == nil {
			a.show(svc, gone, t.ips)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if err != nil {
			a.free(t.ips, t.ports)
			return
		}
		a.free(gone, without(hadPorts, hasPorts))
	}, nil
}

func without(list, but []int) (left []int) {
	for _, n := range list {
		if !slices.Contains(but, n) {
			left = append(left, n)
		}
	}
	return left
}

// families fills in the fields of dual stack as a cluster of one family has them,
// and says what such a cluster has not.
func families(s *corev1.ServiceSpec, old *corev1.Service, cidr netip.Prefix) field.ErrorList {
	if s.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	own, other := corev1.IPv4Protocol, corev1.IPv6Protocol
	if cidr.Addr().Is6() {
		own, other = other, own
	}
	single := s.IPFamilyPolicy != nil && *s.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack
	if s.ClusterIP == corev1.ClusterIPNone && len(s.Selector) == 0 {
		return anyFamilies(s, old, single, own, other)
	}
	if len(s.IPFamilies) == 0 {
		s.IPFamilies = []corev1.IPFamily{own}
		if ip, err := netip.ParseAddr(s.ClusterIP); err == nil && ip.Is4() != cidr.Addr().Is4() {
			s.IPFamilies[0] = other
		}
	}
	var errs field.ErrorList
	spec := field.NewPath("spec")
	for i, f := range s.IPFamilies {
		if f != own {
			errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	if p := s.IPFamilyPolicy; p == nil {
		s.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
	} else if *p == corev1.IPFamilyPolicyRequireDualStack {
		errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), *p, "this cluster is not configured for dual-stack services"))
	}
	return errs
}

// anyFamilies is families of a Service whose endpoints are not the cluster's,
// which may have any address.
func anyFamilies(s *corev1.ServiceSpec, old *corev1.Service, single bool, own, other corev1.IPFamily) field.ErrorList {
	had := 0
	if old != nil {
		had = len(old.Spec.IPFamilies)
	}
	switch {
	case single && had == 2 && slices.Equal(s.IPFamilies, old.Spec.IPFamilies):
		s.IPFamilies = s.IPFamilies[:1:1]
	case !single && had == 2 && len(s.IPFamilies) == 1:
		return field.ErrorList{field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), s.IPFamilyPolicy, "must be 'SingleStack' to release the secondary IP family")}
	}
	if len(s.IPFamilies) == 0 {
		s.IPFamilies = []corev1.IPFamily{own}
	}
	if len(s.IPFamilies) == 1 && !single {
		if s.IPFamilies[0] == other {
			other = own
		}
		s.IPFamilies = append(s.IPFamilies[:1:1], other)
	}
	if s.IPFamilyPolicy == nil {
		s.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack)
	}
	return nil
}

// taking is one Service's taking of addresses and ports.
type taking struct {
	a                *serviceAllocator
	dryRun           bool
	hadIPs, hadPorts []int
	ips, ports       []int // taken now
	err              error
	// What is counted, unless the write is only tried.
	ofIPs, ofPorts allocations
}

func (t *taking) take(svc *corev1.Service) field.ErrorList {
	s := &svc.Spec
	var errs field.ErrorList
	spec := field.NewPath("spec")
	if s.Type != corev1.ServiceTypeExternalName && s.ClusterIP != corev1.ClusterIPNone {
		errs = append(errs, t.takeIP(s, spec)...)
	}
	if strategy.WantsNodePorts(s) {
		errs = append(errs, t.takePorts(s, spec.Child("ports"))...)
	}
	if strategy.WantsHealthCheckPort(s) && t.err == nil {
		at := spec.Child("healthCheckNodePort")
		if s.HealthCheckNodePort != 0 {
			errs = append(errs, t.port(s.HealthCheckNodePort, at)...)
		} else {
			s.HealthCheckNodePort = t.anyPort()
		}
	}
	return errs
}

func (t *taking) takeIP(s *corev1.ServiceSpec, spec *field.Path) field.ErrorList {
	if s.ClusterIP == "" {
		n, ok := t.a.ips.Any()
		if t.ofIPs.dynamic.count(ok); !ok {
			t.err = errors.New("failed to allocate a serviceIP: range is full")
			return nil
		}
		t.ips = append(t.ips, n)
		s.ClusterIP = t.a.ips.AddressAt(n).String()
		s.ClusterIPs = []string{s.ClusterIP}
		return nil
	}
	at := spec.Child("clusterIPs")
	n, ok := t.a.offset(s.ClusterIP)
	if !ok {
		t.ofIPs.static.count(false)
		outside := "the provided network does not match the current range"
		if t.dryRun {
			outside = fmt.Sprintf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", s.ClusterIP, t.a.cidr)
		}
		return field.ErrorList{field.Invalid(at, s.ClusterIPs, fmt.Sprintf("failed to allocate IP %s: %s", s.ClusterIP, outside))}
	}
	if slices.Contains(t.hadIPs, n) {
		return nil
	}
	ok = t.a.ips.Take(n)
	if t.ofIPs.static.count(ok); !ok {
		return field.ErrorList{field.Invalid(at, s.ClusterIPs, fmt.Sprintf("failed to allocate IP %s: provided IP is already allocated", s.ClusterIP))}
	}
	t.ips = append(t.ips, n)
	return nil
}

// takePorts takes the ports that are stated before it chooses others.
func (t *taking) takePorts(s *corev1.ServiceSpec, at *field.Path) (errs field.ErrorList) {
	for i := range s.Ports {
		p := &s.Ports[i]
		// One port of two protocols may have one node port.
		shared := slices.ContainsFunc(s.Ports[:i], func(o corev1.ServicePort) bool {
			return o.NodePort == p.NodePort && o.Port == p.Port && o.Protocol != p.Protocol
		})
		if p.NodePort != 0 && !shared {
			errs = append(errs, t.port(p.NodePort, at.Index(i).Child("nodePort"))...)
		}
	}
	if len(errs) > 0 {
		return errs
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.NodePort != 0 {
			continue
		}
		// The same port of another protocol has the same node port.
		for j := range s.Ports {
			if o := &s.Ports[j]; o.Port == p.Port && o.NodePort != 0 && o.Protocol != p.Protocol {
				p.NodePort = o.NodePort
			}
		}
		if p.NodePort == 0 {
			p.NodePort = t.anyPort()
		}
	}
	return nil
}

func (t *taking) port(port int32, at *field.Path) field.ErrorList {
	n := t.a.ports.Port(port)
	if n < 0 {
		t.ofPorts.static.count(false)
		first, last := t.a.ports.Bounds()
		return field.ErrorList{field.Invalid(at, port, fmt.Sprintf(
			"provided port is not in the valid range. The range of valid ports is %d-%d", first, last))}
	}
	if slices.Contains(t.hadPorts, n) {
		return nil // its own already
	}
	ok := t.a.ports.Take(n)
	if t.ofPorts.static.count(ok); !ok {
		return field.ErrorList{field.Invalid(at, port, "provided port is already allocated")}
	}
	t.ports = append(t.ports, n)
	return nil
}

func (t *taking) anyPort() int32 {
	n, ok := t.a.ports.Any()
	if t.ofPorts.dynamic.count(ok); !ok {
		t.err = errors.New("failed to allocate a nodePort: range is full")
		return 0
	}
	t.ports = append(t.ports, n)
	return t.a.ports.PortAt(n)
}
