package apiserver_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"clipper/internal/apiserver"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

func aService(name string, t corev1.ServiceType) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Type: t, Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}},
		},
	}
}

func TestServiceAllocation(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	services := c.admin(runtime.ContentTypeProtobuf).CoreV1().Services("default")
	create := func(s *corev1.Service) *corev1.Service {
		t.Helper()
		s, err := services.Create(ctx, s, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := create(aService("a", corev1.ServiceTypeClusterIP))
	ip, err := netip.ParseAddr(a.Spec.ClusterIP)
	if err != nil || !netip.MustParsePrefix("10.96.0.0/24").Contains(ip) || len(a.Spec.ClusterIPs) != 1 || a.Spec.ClusterIPs[0] != a.Spec.ClusterIP {
		t.Errorf("%+v", a.Spec)
	}
	if a.Spec.IPFamilies[0] != corev1.IPv4Protocol || *a.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		t.Errorf("%+v", a.Spec)
	}
	b := aService("b", corev1.ServiceTypeClusterIP)
	b.Spec.ClusterIP = a.Spec.ClusterIP
	_, err = services.Create(ctx, b, metav1.CreateOptions{})
	if want := "failed to allocate IP " + a.Spec.ClusterIP + ": provided IP is already allocated"; !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
	b.Spec.ClusterIP = "10.97.0.1"
	if _, err = services.Create(ctx, b, metav1.CreateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "the provided network does not match the current range") {
		t.Error(err)
	}
	// Put again without the address, as a manifest has it.
	plain := aService("a", corev1.ServiceTypeClusterIP)
	plain.Labels = map[string]string{"x": "y"}
	again, err := services.Update(ctx, plain, metav1.UpdateOptions{})
	if err != nil || again.Spec.ClusterIP != a.Spec.ClusterIP {
		t.Errorf("%+v %v", again, err)
	}
	// The type changes by its name alone, there and back.
	typed := func(kind string) *corev1.Service {
		t.Helper()
		s, err := services.Patch(ctx, "a", types.StrategicMergePatchType, []byte(`{"spec":{"type":"`+kind+`"}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	n := typed("NodePort")
	if p := n.Spec.Ports[0].NodePort; p < 30000 || p > 32767 || n.Spec.ClusterIP != a.Spec.ClusterIP {
		t.Errorf("%+v", n.Spec)
	}
	lb := typed("LoadBalancer")
	if lb.Spec.Ports[0].NodePort != n.Spec.Ports[0].NodePort {
		t.Errorf("%+v", lb.Spec)
	}
	if s := typed("ClusterIP"); s.Spec.Ports[0].NodePort != 0 || s.Spec.ClusterIP != a.Spec.ClusterIP {
		t.Errorf("%+v", s.Spec)
	}
	// The port is free again.
	d := aService("d", corev1.ServiceTypeNodePort)
	d.Spec.Ports[0].NodePort = n.Spec.Ports[0].NodePort
	create(d)
	e := aService("e", corev1.ServiceTypeNodePort)
	e.Spec.Ports[0].NodePort = n.Spec.Ports[0].NodePort
	_, err = services.Create(ctx, e, metav1.CreateOptions{})
	if want := fmt.Sprintf(`Service "e" is invalid: spec.ports[0].nodePort: Invalid value: %d: provided port is already allocated`, d.Spec.Ports[0].NodePort); err == nil || err.Error() != want {
		t.Error(err)
	}
	e.Spec.Ports[0].NodePort = 80
	_, err = services.Create(ctx, e, metav1.CreateOptions{})
	if want := `Service "e" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767`; err == nil || err.Error() != want {
		t.Error(err)
	}
	// Two protocols of one port share the node port.
	both := aService("both", corev1.ServiceTypeNodePort)
	both.Spec.Ports = []corev1.ServicePort{{Name: "t", Port: 53, Protocol: corev1.ProtocolTCP}, {Name: "u", Port: 53, Protocol: corev1.ProtocolUDP}}
	if s := create(both); s.Spec.Ports[0].NodePort == 0 || s.Spec.Ports[0].NodePort != s.Spec.Ports[1].NodePort {
		t.Errorf("%+v", s.Spec)
	}
	headless := aService("headless", corev1.ServiceTypeClusterIP)
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	if s := create(headless); s.Spec.ClusterIPs[0] != corev1.ClusterIPNone || len(s.Spec.IPFamilies) != 1 {
		t.Errorf("%+v", s.Spec)
	}
	name := aService("name", corev1.ServiceTypeExternalName)
	name.Spec.ExternalName = "example.com"
	if s := create(name); s.Spec.ClusterIP != "" || len(s.Spec.IPFamilies) != 0 {
		t.Errorf("%+v", s.Spec)
	}
	// A try takes nothing.
	dry, err := services.Create(ctx, aService("dry", corev1.ServiceTypeNodePort), metav1.CreateOptions{DryRun: []string{"All"}})
	if err != nil || dry.Spec.ClusterIP == "" || dry.Spec.Ports[0].NodePort == 0 {
		t.Errorf("%+v %v", dry, err)
	}
	real := aService("real", corev1.ServiceTypeNodePort)
	real.Spec.ClusterIP, real.Spec.Ports[0].NodePort = dry.Spec.ClusterIP, dry.Spec.Ports[0].NodePort
	create(real)
}

// TestServicesShareNothing has more Services made than there are addresses,
// side by side, with a restart between.
func TestServicesShareNothing(t *testing.T) {
	c := start(t, func(c *apiserver.Config) { c.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/26") })
	made := func(c *cluster, prefix string) (ok int) {
		services := c.admin(runtime.ContentTypeProtobuf).CoreV1().Services("default")
		var wg sync.WaitGroup
		var mu sync.Mutex
		for w := range 10 {
			wg.Go(func() {
				for i := range 10 {
					_, err := services.Create(t.Context(), aService(fmt.Sprintf("%s%d-%d", prefix, w, i), corev1.ServiceTypeNodePort), metav1.CreateOptions{})
					mu.Lock()
					if err == nil {
						ok++
					} else if !strings.Contains(err.Error(), "failed to allocate a serviceIP: range is full") {
						t.Error(err)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		return ok
	}
	check := func(c *cluster) int {
		t.Helper()
		list, err := c.admin(runtime.ContentTypeProtobuf).CoreV1().Services("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		owner := map[any]string{}
		for _, s := range list.Items {
			for _, k := range []any{s.Spec.ClusterIP, s.Spec.Ports[0].NodePort} {
				if k != int32(0) && owner[k] != "" {
					t.Errorf("%s and %s share %v", owner[k], s.Name, k)
				}
				owner[k] = s.Name
			}
		}
		return len(list.Items)
	}
	if n := made(c, "a"); n != 61 { // 64 without the network's, broadcast's and the API's
		t.Errorf("%d made", n)
	}
	check(c)
	services := c.admin(runtime.ContentTypeProtobuf).CoreV1().Services("default")
	list, err := services.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range list.Items {
		if s.Name != "kubernetes" && i%2 == 0 {
			if err := services.Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := startOn(t, c.store, func(c *apiserver.Config) { c.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/26") })
	made(d, "b")
	if n := check(d); n != 62 {
		t.Errorf("%d in all", n)
	}
}
