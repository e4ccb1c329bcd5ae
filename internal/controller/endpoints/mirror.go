package endpoints

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	utilnet "k8s.io/utils/net"

	"clipper/internal/controller"
	"clipper/internal/controller/endpointslice"
)

// Mirror copies the Endpoints of Services without a selector, which users
// write, into EndpointSlices, which alone the proxies read.
type Mirror struct {
	*controller.Loop[controller.Key]
	Config
	services  corelisters.ServiceLister
	endpoints corelisters.EndpointsLister
	slices    cache.Indexer
	writer    endpointslice.Writer
}

const (
	mirror = "endpointslicemirroring-controller.k8s.io"
	// mirrored bounds the addresses taken of one subset.
	mirrored = 1000
)

// NewMirror returns the controller; Run starts it.
func NewMirror(c Config) *Mirror {
	core := c.Informers.Core().V1()
	slices := c.Informers.Discovery().V1().EndpointSlices().Informer()
	m := &Mirror{
		Config: c, services: core.Services().Lister(), endpoints: core.Endpoints().Lister(),
		slices: endpointslice.Index(slices), writer: endpointslice.Writer{Client: c.Client, Pending: controller.NewPending(c.Clock)},
	}
	m.Loop = controller.NewLoop("endpointslice-mirroring-controller", c, workers, m.sync)
	m.Watch(core.Endpoints().Informer(), controller.On(func(before, now *corev1.Endpoints) {
		if now == nil {
			m.writer.Pending.Forget(before.UID)
			now = before
		}
		if byUser(now) || before != nil && byUser(before) {
			m.Add(controller.KeyOf(now))
		}
	}))
	m.Watch(core.Services().Informer(), controller.On(func(before, now *corev1.Service) {
		if now == nil {
			now = before
		}
		if !controller.SelectsPods(now) || before != nil && !controller.SelectsPods(before) {
			m.Add(controller.KeyOf(now))
		}
	}))
	m.Watch(slices, controller.On(func(before, now *discoveryv1.EndpointSlice) {
		m.writer.Saw(before, now, mirror, m.Add)
	}))
	return m
}

// byUser tells whether Endpoints are to be mirrored.
func byUser(e *corev1.Endpoints) bool {
	_, elects := e.Annotations["control-plane.alpha.kubernetes.io/leader"]
	return e.Labels[managedBy] == "" && e.Labels[discoveryv1.LabelSkipMirror] != "true" && !elects
}

func (m *Mirror) sync(ctx context.Context, key controller.Key) error {
	e, err := m.endpoints.Endpoints(key.Namespace).Get(key.Name)
	if controller.IgnoreNotFound(err) != nil {
		return err
	}
	s, serr := m.services.Services(key.Namespace).Get(key.Name)
	if controller.IgnoreNotFound(serr) != nil {
		return serr
	}
	if err != nil || serr != nil || !byUser(e) || len(s.Spec.Selector) > 0 {
		have := endpointslice.Of(m.slices, key, mirror)
		owner := &metav1.ObjectMeta{Namespace: key.Namespace}
		return m.writer.Apply(ctx, owner, endpointslice.Changes{Delete: have})
	}
	if wait := m.writer.Pending.Wait(e.UID); wait > 0 {
		m.AddAfter(key, wait)
		return nil
	}
	changes := endpointslice.Pack(mirrorOf(e), nil, groups(e), endpointslice.Of(m.slices, key, mirror))
	if err := m.writer.Apply(ctx, e, changes); !controller.NamespaceEnds(err) && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

func mirrorOf(e *corev1.Endpoints) *discoveryv1.EndpointSlice {
	l := maps.Clone(e.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l[discoveryv1.LabelServiceName], l[discoveryv1.LabelManagedBy] = e.Name, mirror
	annotations := maps.Clone(e.Annotations)
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		GenerateName: e.Name + "-", Namespace: e.Namespace, Labels: l, Annotations: annotations,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(e, corev1.SchemeGroupVersion.WithKind("Endpoints"))},
	}}
}

func groups(e *corev1.Endpoints) (out []endpointslice.Group) {
	for i := range e.Subsets {
		sub := &e.Subsets[i]
		var ports []discoveryv1.EndpointPort
		for j := range sub.Ports {
			p := &sub.Ports[j]
			ports = append(ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol})
		}
		for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			g := endpointslice.Group{Family: family, Ports: ports}
			take := func(all []corev1.EndpointAddress, ready bool) {
				for j := range all {
					a := &all[j]
					if utilnet.IsIPv6String(a.IP) != (family == discoveryv1.AddressTypeIPv6) || len(g.Endpoints) == mirrored {
						continue
					}
					end := discoveryv1.Endpoint{
						Addresses: []string{a.IP}, TargetRef: a.TargetRef, NodeName: a.NodeName,
						Conditions: discoveryv1.EndpointConditions{Ready: &ready},
					}
					if a.Hostname != "" {
						end.Hostname = &a.Hostname
					}
					g.Endpoints = append(g.Endpoints, end)
				}
			}
			take(sub.Addresses, true)
			take(sub.NotReadyAddresses, false)
			if len(g.Endpoints) == 0 {
				continue
			}
			same := slices.IndexFunc(out, func(o endpointslice.Group) bool {
				return o.Family == g.Family && equality.Semantic.DeepEqual(o.Ports, g.Ports)
			})
			if same >= 0 {
				out[same].Endpoints = append(out[same].Endpoints, g.Endpoints...)
			} else {
				out = append(out, g)
			}
		}
	}
	return out
}
