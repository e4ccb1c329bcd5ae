package apiserver

import (
	"context"
	"fmt"
	"net/netip"

	"clipper/internal/apiserver/cache"
	"clipper/internal/scheme"
	"clipper/internal/store"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// addresses shows which Service has which address, as IPAddress objects
// (KEP-1880). The Services are what decides: the objects are made from them
// again when the server starts, so they need not be synced by themselves.
type addresses struct {
	*Server
	kind *kind
}

// managedBy marks the objects that are made from Services.
const managedBy = "ipallocator.k8s.io"

func (a *addresses) of(ip netip.Addr) *cache.Entry {
	return a.kind.cache.Get(cache.Key("", ip.String()))
}

// record notes who has an address.
func (a *addresses) record(ip netip.Addr, namespace, name string) error {
	family := corev1.IPv4Protocol
	if ip.Is6() {
		family = corev1.IPv6Protocol
	}
	o := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: ip.String(), UID: a.uid(), CreationTimestamp: a.now(),
			Labels: map[string]string{networkingv1.LabelIPAddressFamily: string(family), networkingv1.LabelManagedBy: managedBy},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: namespace, Name: name}},
	}
	o.SetGroupVersionKind(a.kind.row.GroupVersionKind())
	value, err := scheme.EncodeStored(o)
	if err != nil {
		return err
	}
	w := store.Write{Key: a.kind.row.Key("", o.Name), Value: value, Object: o, Lazy: true}
	if e := a.of(ip); e != nil {
		w.Expect = e.Revision
	}
	_, err = a.kind.put(context.Background(), a.Server, w)
	return err
}

// erase deletes the note.
func (a *addresses) erase(ip netip.Addr) error {
	e := a.of(ip)
	if e == nil {
		return nil
	}
	last := e.Object.DeepCopyObject().(store.Versioned)
	_, err := a.kind.put(context.Background(), a.Server, store.Write{
		Key: a.kind.row.Key("", ip.String()), Expect: e.Revision, Object: last, Lazy: true,
	})
	return err
}

// begin takes an address that a user writes an object of, so that no Service
// gets it.
func (s *serviceAllocator) beginAddress(obj, old runtime.Object, dryRun bool) (func(error), error) {
	n, ok := s.offset(obj.(*networkingv1.IPAddress).Name)
	if !ok || old != nil || dryRun {
		return func(error) {}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ips.Take(n) {
		return func(error) {}, nil // its object exists
	}
	s.byHand[n] = true
	return func(err error) {
		if err != nil {
			s.freeByHand(n)
		}
	}, nil
}

// releaseAddress frees what a user's object took. One of a Service that is
// there comes back.
func (s *serviceAllocator) releaseAddress(last runtime.Object) {
	o := last.(*networkingv1.IPAddress)
	n, ok := s.offset(o.Name)
	if !ok || s.freeByHand(n) || o.Spec.ParentRef == nil || o.Labels[networkingv1.LabelManagedBy] != managedBy {
		return
	}
	s.note(s.shown.record(s.ips.AddressAt(n), o.Spec.ParentRef.Namespace, o.Spec.ParentRef.Name))
}

func (s *serviceAllocator) freeByHand(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.byHand[n] {
		return false
	}
	delete(s.byHand, n)
	s.ips.Free(n)
	return true
}

// show makes the objects agree with a Service that gave up some addresses and
// took others.
func (s *serviceAllocator) show(svc *corev1.Service, gone, taken []int) {
	if s.shown == nil {
		return
	}
	for _, n := range gone {
		s.note(s.shown.erase(s.ips.AddressAt(n)))
	}
	for _, n := range taken {
		s.note(s.shown.record(s.ips.AddressAt(n), svc.Namespace, svc.Name))
	}
}

// note logs what failed: the Service has its address whether it is shown or not.
func (s *serviceAllocator) note(err error) {
	if err != nil {
		s.shown.Logger.Warn("IPAddress of a Service cannot be written", "err", err)
	}
}

// repair makes the objects agree with the Services of the cache, and takes the
// addresses of those that users made.
func (s *serviceAllocator) repair(services *kind) error {
	if s.shown == nil {
		return nil
	}
	owner := map[string]*corev1.Service{}
	each(services, func(o runtime.Object) {
		svc := o.(*corev1.Service)
		for _, ip := range clusterIPs(&svc.Spec) {
			owner[ip] = svc
		}
	})
	var stale []netip.Addr
	each(s.shown.kind, func(o runtime.Object) {
		a := o.(*networkingv1.IPAddress)
		svc, ref := owner[a.Name], a.Spec.ParentRef
		n, ok := s.offset(a.Name)
		switch {
		case svc != nil && ref != nil && ref.Namespace == svc.Namespace && ref.Name == svc.Name:
			delete(owner, a.Name)
		case svc != nil || !ok:
			// Written anew below, or of another range.
		case a.Labels[networkingv1.LabelManagedBy] == managedBy:
			stale = append(stale, s.ips.AddressAt(n))
		default:
			s.byHand[n] = s.ips.Take(n)
		}
	})
	for _, ip := range stale {
		if err := s.shown.erase(ip); err != nil {
			return fmt.Errorf("delete the IPAddress %s of no Service: %w", ip, err)
		}
	}
	for ip, svc := range owner {
		addr, err := netip.ParseAddr(ip)
		if err != nil {
			continue
		}
		if err := s.shown.record(addr, svc.Namespace, svc.Name); err != nil {
			return fmt.Errorf("create the IPAddress %s of a Service: %w", ip, err)
		}
	}
	return nil
}

func each(k *kind, f func(runtime.Object)) {
	k.cache.Snapshot().Ascend(k.cache.Select("", nil, nil), "", func(e *cache.Entry) bool {
		f(e.Object)
		return true
	})
}

// ensureServiceCIDR creates the object of the range that Services get their
// addresses from.
func (s *Server) ensureServiceCIDR(ctx context.Context) error {
	if s.services == nil {
		return nil
	}
	c := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: kubernetes, Finalizers: []string{"networking.k8s.io/service-cidr-finalizer"}},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{s.services.cidr.String()}},
		Status: networkingv1.ServiceCIDRStatus{Conditions: []metav1.Condition{{
			Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionTrue,
			Message: "Kubernetes default Service CIDR is ready", LastTransitionTime: s.now(),
		}}},
	}
	if err := s.ensureWhole(ctx, "servicecidrs", networkingv1.GroupName, c); err != nil {
		return fmt.Errorf("create the ServiceCIDR %s: %w", c.Name, err)
	}
	return nil
}

// wireAddresses lets the Services' addresses be shown, and users take some.
func (s *Server) wireAddresses() {
	k := s.byName[schema.GroupResource{Group: networkingv1.GroupName, Resource: "ipaddresses"}]
	if k == nil || s.services == nil {
		return
	}
	s.services.shown = &addresses{Server: s, kind: k}
	k.begin, k.release = s.services.beginAddress, s.services.releaseAddress
}
