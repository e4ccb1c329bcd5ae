package apiserver

import (
	"cmp"
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
	netutils "k8s.io/utils/net"
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
	addr, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(ip)) // validation tells what is wrong with old forms
	if !ok {
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
	errs := validate.ServiceAddresses(svc, was)
	if len(errs) == 0 {
		errs = families(&svc.Spec, old, a.cidr)
	}
	if len(errs) > 0 {
		return nil, apierrors.NewInvalid(svc.GroupVersionKind().GroupKind(), svc.Name, errs)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	hadIPs, hadPorts := a.held(old)
	t := taking{a: a, dry: dryRun, hadIPs: hadIPs, hadPorts: hadPorts}
	errs = t.take(svc, old)
	if !dryRun {
		a.ipCounts.add(t.ofIPs)
		a.portCounts.add(t.ofPorts)
	}
	if len(errs) > 0 || t.err != nil {
		a.free(t.ips, t.ports)
		if t.err != nil {
			return nil, t.err
		}
		return nil, apierrors.NewInvalid(svc.GroupVersionKind().GroupKind(), svc.Name, errs)
	}
	if dryRun {
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
	if s.IPFamilyPolicy == nil {
		s.IPFamilyPolicy, single = ptr.To(corev1.IPFamilyPolicySingleStack), true
	}
	spec := field.NewPath("spec")
	policy := spec.Child("ipFamilyPolicy")
	var errs field.ErrorList
	if single {
		errs = severalOfOne(s, policy)
	}
	for i, ip := range s.ClusterIPs[min(len(s.IPFamilies), len(s.ClusterIPs)):] {
		if a, err := netip.ParseAddr(ip); err == nil && a.Is4() != cidr.Addr().Is4() {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(len(s.IPFamilies)+i), s.ClusterIPs, fmt.Sprintf("%s is not configured on this cluster", other)))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if *s.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack {
		errs = append(errs, field.Invalid(policy, *s.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	for i, f := range s.IPFamilies {
		if f != own {
			errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	if len(s.IPFamilies) == 0 {
		s.IPFamilies = []corev1.IPFamily{own}
	}
	return errs
}

// severalOfOne refuses what states two of what it says to have one of.
func severalOfOne(s *corev1.ServiceSpec, policy *field.Path) (errs field.ErrorList) {
	for _, of := range []struct {
		what  string
		times int
	}{{"cluster IPs", len(s.ClusterIPs)}, {"IP families", len(s.IPFamilies)}} {
		if of.times == 2 {
			errs = append(errs, field.Invalid(policy, *s.IPFamilyPolicy, fmt.Sprintf("must be 'RequireDualStack' or 'PreferDualStack' when multiple %s are specified", of.what)))
		}
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
	case single && len(s.IPFamilies) == 2:
		return severalOfOne(s, field.NewPath("spec", "ipFamilyPolicy"))
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

// taking is one Service's taking of addresses and ports. A dry one takes none:
// it shows the range's first address and ports beyond those tried, and does not
// ask whether an address is free.
type taking struct {
	a                *serviceAllocator
	dry              bool
	hadIPs, hadPorts []int
	ips, ports       []int   // taken now
	tried            []int32 // ports
	err              error
	// What is counted, unless the write is only tried.
	ofIPs, ofPorts allocations
}

func (t *taking) take(svc, old *corev1.Service) field.ErrorList {
	s := &svc.Spec
	var errs field.ErrorList
	spec := field.NewPath("spec")
	// An address is taken once; that another is stated later is for validation to refuse.
	if s.Type != corev1.ServiceTypeExternalName && s.ClusterIP != corev1.ClusterIPNone && (old == nil || len(old.Spec.ClusterIPs) == 0) {
		errs = append(errs, t.takeIP(s, spec)...)
	}
	switch ports := spec.Child("ports"); {
	case !strategy.WantsNodePorts(s):
	case old == nil:
		errs = append(errs, t.takePorts(s, ports)...)
	default:
		errs = append(errs, t.changePorts(s, ports)...)
	}
	if strategy.WantsHealthCheckPort(s) && t.err == nil {
		if n := s.HealthCheckNodePort; n == 0 {
			s.HealthCheckNodePort = t.anyPort()
		} else if refused := t.port(n); refused != "" {
			t.err = apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %d: %s", n, refused))
		}
	}
	return errs
}

func (t *taking) takeIP(s *corev1.ServiceSpec, spec *field.Path) field.ErrorList {
	if s.ClusterIP == "" {
		ip, ok := t.anyIP()
		if t.ofIPs.dynamic.count(ok); !ok {
			t.err = apierrors.NewInternalError(errors.New("failed to allocate a serviceIP: range is full"))
			return nil
		}
		s.ClusterIP = ip.String()
		s.ClusterIPs = []string{s.ClusterIP}
		return nil
	}
	refused := t.ip(s.ClusterIP)
	if refused == "" {
		return nil
	}
	return field.ErrorList{field.Invalid(spec.Child("clusterIPs"), s.ClusterIPs, fmt.Sprintf("failed to allocate IP %s: %s", s.ClusterIP, refused))}
}

func (t *taking) anyIP() (netip.Addr, bool) {
	if t.dry {
		return t.a.cidr.Addr(), true
	}
	n, ok := t.a.ips.Any()
	if !ok {
		return netip.Addr{}, false
	}
	t.ips = append(t.ips, n)
	return t.a.ips.AddressAt(n), true
}

// ip takes an address, or says why not.
func (t *taking) ip(ip string) (refused string) {
	n, ok := t.a.offset(ip)
	switch {
	case !ok && t.dry:
		return fmt.Sprintf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip, t.a.cidr)
	case !ok:
		t.ofIPs.static.count(false)
		return "the provided network does not match the current range"
	case t.dry || slices.Contains(t.hadIPs, n):
		return ""
	}
	ok = t.a.ips.Take(n)
	if t.ofIPs.static.count(ok); !ok {
		return "provided IP is already allocated"
	}
	t.ips = append(t.ips, n)
	return ""
}

// takePorts takes the ports that are stated before it chooses others, but for a
// dry run, which chooses from what came before. A port of several protocols may
// have one node port, and has one if it may be chosen.
func (t *taking) takePorts(s *corev1.ServiceSpec, at *field.Path) field.ErrorList {
	of := map[int32]int32{} // the node port of a port
	for _, p := range s.Ports {
		if of[p.Port] == 0 {
			of[p.Port] = p.NodePort
		}
	}
	var order []int
	for i := range s.Ports {
		order = append(order, i)
		if p := &s.Ports[i]; p.NodePort == 0 {
			p.NodePort = of[p.Port]
		}
	}
	if !t.dry {
		slices.SortStableFunc(order, func(i, j int) int {
			return cmp.Compare(min(s.Ports[j].NodePort, 1), min(s.Ports[i].NodePort, 1))
		})
	}
	type pair struct{ port, node int32 }
	asked := map[pair]bool{}
	for _, i := range order {
		p := &s.Ports[i]
		if p.NodePort == 0 {
			if of[p.Port] == 0 {
				of[p.Port] = t.anyPort()
			}
			p.NodePort = of[p.Port]
			continue
		}
		if of := (pair{p.Port, p.NodePort}); !asked[of] {
			asked[of] = true
			if refused := t.port(p.NodePort); refused != "" {
				return field.ErrorList{field.Invalid(at.Index(i).Child("nodePort"), p.NodePort, refused)}
			}
		}
	}
	return nil
}

// changePorts is takePorts of a Service that is there: whatever shares a node
// port does so on purpose, and nothing else does.
func (t *taking) changePorts(s *corev1.ServiceSpec, at *field.Path) field.ErrorList {
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.NodePort == 0 {
			p.NodePort = t.anyPort()
			continue
		}
		before := s.Ports[:i]
		if slices.ContainsFunc(before, func(o corev1.ServicePort) bool { return o.NodePort == p.NodePort && o.Protocol == p.Protocol }) {
			t.err = fmt.Errorf("duplicate nodePort: {%s %d}", p.Protocol, p.NodePort)
			return nil
		}
		if slices.ContainsFunc(before, func(o corev1.ServicePort) bool { return o.NodePort == p.NodePort }) {
			continue
		}
		if refused := t.port(p.NodePort); refused != "" {
			return field.ErrorList{field.Invalid(at.Index(i).Child("nodePort"), p.NodePort, refused)}
		}
	}
	return nil
}

// port takes a port, or says why not.
func (t *taking) port(port int32) (refused string) {
	const taken = "provided port is already allocated"
	n := t.a.ports.Port(port)
	switch {
	case slices.Contains(t.hadPorts, n):
		return "" // its own already
	case t.dry:
		if n >= 0 && t.a.ports.Taken(n) || slices.Contains(t.tried, port) {
			return taken
		}
		t.tried = append(t.tried, port)
		return ""
	case n < 0:
		t.ofPorts.static.count(false)
		first, last := t.a.ports.Bounds()
		return fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %d-%d", first, last)
	}
	ok := t.a.ports.Take(n)
	if t.ofPorts.static.count(ok); !ok {
		return taken
	}
	t.ports = append(t.ports, n)
	return ""
}

// beyondPorts is where a dry run looks for its first port.
const beyondPorts = 32768

func (t *taking) anyPort() int32 {
	if t.dry {
		port := int32(beyondPorts)
		if len(t.tried) > 0 {
			port = slices.Max(t.tried)
		}
		t.tried = append(t.tried, port+1)
		return port + 1
	}
	n, ok := t.a.ports.Any()
	if t.ofPorts.dynamic.count(ok); !ok {
		t.err = apierrors.NewInternalError(errors.New("failed to allocate a nodePort: range is full"))
		return 0
	}
	t.ports = append(t.ports, n)
	return t.a.ports.PortAt(n)
}
