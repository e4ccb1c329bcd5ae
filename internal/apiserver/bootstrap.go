package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

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

// step is a part of the server's start. Health checks tell of it by the name of
// what does it upstream.
type step struct {
	name string
	run  func(context.Context) error
	done atomic.Bool
}

func (s *step) do(ctx context.Context) error {
	if err := s.run(ctx); err != nil {
		return err
	}
	s.done.Store(true)
	return nil
}

var errNotFinished = errors.New("not finished")

func (s *step) health() error {
	if !s.done.Load() {
		return errNotFinished
	}
	return nil
}

// startSteps take what Services have, and create what every cluster has. Those
// of a stage go side by side, so that the store syncs their writes together.
func (s *Server) startSteps() [][]*step {
	return [][]*step{
		{{name: "poststarthook/start-service-ip-repair-controllers", run: s.repairServices}},
		{{name: "poststarthook/start-system-namespaces-controller", run: s.ensureNamespaces}},
		{
			{name: "poststarthook/scheduling/bootstrap-system-priority-classes", run: s.ensurePriorityClasses},
			{name: "poststarthook/bootstrap-controller", run: s.ensureOwn},
			{name: "poststarthook/start-kubernetes-service-cidr-controller", run: s.ensureServiceCIDR},
			{name: "poststarthook/kube-apiserver-autoregistration", run: s.ensureAPIServices},
		},
	}
}

func (s *Server) bootstrap(ctx context.Context) error {
	for _, stage := range s.steps {
		g, gctx := errgroup.WithContext(ctx)
		for _, one := range stage {
			g.Go(func() error { return one.do(gctx) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// repairServices takes the addresses and ports of the Services that there are.
func (s *Server) repairServices(context.Context) error {
	services := s.byName[schema.GroupResource{Resource: "services"}]
	if services == nil {
		return nil
	}
	services.cache.Snapshot().Ascend(services.cache.Select("", nil, nil), "", func(e *cache.Entry) bool {
		s.services.mark(e.Object.(*corev1.Service))
		return true
	})
	return s.services.repair(services)
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
