package apiserver

import (
	"context"
	"fmt"
	"slices"

	"clipper/internal/apiserver/cache"
	"clipper/internal/apiserver/strategy"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apiserver/pkg/authentication/user"
)

// self is who the server writes as.
var self user.Info = &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}} // never changed

const kubernetes = "kubernetes" // the Service of the API itself

// bootstrap takes what Services have, and creates what every cluster has. The
// writes go side by side, so that the store syncs them together.
func (s *Server) bootstrap(ctx context.Context) error {
	services := s.byName[schema.GroupResource{Resource: "services"}]
	if services != nil {
		services.cache.Snapshot().Ascend(services.cache.Select("", nil, nil), "", func(e *cache.Entry) bool {
			s.services.mark(e.Object.(*corev1.Service))
			return true
		})
		if err := s.services.repair(services); err != nil {
			return err
		}
	}
	if err := s.ensureNamespaces(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, f := range []func(context.Context) error{
		s.ensureOwn, s.ensurePriorityClasses, s.ensureServiceCIDR, s.ensureAPIServices,
	} {
		g.Go(func() error { return f(gctx) })
	}
	return g.Wait()
}

// ensureNamespaces creates the namespaces that every cluster has.
func (s *Server) ensureNamespaces(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, name := range []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, metav1.NamespaceDefault} {
		g.Go(func() error {
			return s.ensure(gctx, "namespaces", "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("create the default namespaces: %w", err)
	}
	return nil
}

// ensureOwn creates the `kubernetes` Service and its endpoints, or corrects them.
func (s *Server) ensureOwn(ctx context.Context) error {
	if s.services == nil {
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.ensure(gctx, "services", "", s.ownService(), nil) })
	if a := s.Advertise.Addr(); a.IsGlobalUnicast() {
		g.Go(func() error { return s.ensure(gctx, "endpoints", "", s.ownEndpoints(), sameEndpoints) })
		g.Go(func() error { return s.ensure(gctx, "endpointslices", discoveryv1.GroupName, s.ownSlice(), sameSlice) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("create the service of the API server: %w", err)
	}
	return nil
}

// ensure creates an object if there is none, or makes it what is wanted if it
// differs.
func (s *Server) ensure(ctx context.Context, resource, group string, want runtime.Object, same func(want, have runtime.Object) bool) error {
	k := s.byName[schema.GroupResource{Group: group, Resource: resource}]
	if k == nil {
		return nil
	}
	return s.ensureKind(ctx, k, want, same)
}

// ensureWhole is ensure for an object that comes with its status.
func (s *Server) ensureWhole(ctx context.Context, resource, group string, want runtime.Object) error {
	k := s.byName[schema.GroupResource{Group: group, Resource: resource}]
	if k == nil {
		return nil
	}
	return s.ensureKind(ctx, &kind{row: k.row, cache: k.cache, strategy: &strategy.Strategy{}}, want, nil)
}

func (s *Server) ensureKind(ctx context.Context, k *kind, want runtime.Object, same func(want, have runtime.Object) bool) error {
	m := want.(metav1.Object)
	w := &write{Server: s, ctx: ctx, kind: k, namespace: m.GetNamespace(), name: m.GetName(), user: self, manager: "kube-apiserver"}
	have := k.cache.Get(w.key())
	if have != nil && (same == nil || same(want, have.Object)) {
		return nil
	}
	want.GetObjectKind().SetGroupVersionKind(k.row.GroupVersionKind())
	obj, err := k.stored(want)
	if err != nil {
		return err
	}
	if have == nil {
		if _, err = w.create(obj); apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	_, _, err = w.update(func(old *cache.Entry) (runtime.Object, error) { return obj.DeepCopyObject(), nil })
	return err
}

func ownMeta(labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: kubernetes, Namespace: metav1.NamespaceDefault, Labels: labels}
}

func (s *Server) ownService() *corev1.Service {
	target := int32(6443)
	if s.Advertise.IsValid() {
		target = int32(s.Advertise.Port())
	}
	return &corev1.Service{
		ObjectMeta: ownMeta(map[string]string{"component": "apiserver", "provider": kubernetes}),
		Spec: corev1.ServiceSpec{
			ClusterIP: s.services.first().String(),
			Ports: []corev1.ServicePort{{
				Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(target),
			}},
			SessionAffinity: corev1.ServiceAffinityNone,
			Type:            corev1.ServiceTypeClusterIP,
		},
	}
}

func (s *Server) ownEndpoints() *corev1.Endpoints {
	return &corev1.Endpoints{
		ObjectMeta: ownMeta(map[string]string{discoveryv1.LabelSkipMirror: "true"}),
		Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: s.Advertise.Addr().String()}},
			Ports:     []corev1.EndpointPort{{Name: "https", Port: int32(s.Advertise.Port()), Protocol: corev1.ProtocolTCP}},
		}},
	}
}

func (s *Server) ownSlice() *discoveryv1.EndpointSlice {
	name, port, tcp, yes := "https", int32(s.Advertise.Port()), corev1.ProtocolTCP, true
	family := discoveryv1.AddressTypeIPv4
	if s.Advertise.Addr().Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  ownMeta(map[string]string{discoveryv1.LabelServiceName: kubernetes}),
		AddressType: family,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{s.Advertise.Addr().String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &yes},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &tcp}},
	}
}

func sameEndpoints(want, have runtime.Object) bool {
	a, b := want.(*corev1.Endpoints), have.(*corev1.Endpoints)
	return slices.EqualFunc(a.Subsets, b.Subsets, func(x, y corev1.EndpointSubset) bool { return x.String() == y.String() })
}

func sameSlice(want, have runtime.Object) bool {
	a, b := want.(*discoveryv1.EndpointSlice), have.(*discoveryv1.EndpointSlice)
	return len(b.Endpoints) == 1 && len(b.Ports) == 1 && b.Ports[0].Port != nil &&
		slices.Equal(a.Endpoints[0].Addresses, b.Endpoints[0].Addresses) && *a.Ports[0].Port == *b.Ports[0].Port
}
