package apiserver_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// A Service's address is shown by an object that comes and goes with it; what
// users write objects of no Service gets.
func TestIPAddresses(t *testing.T) {
	ctx := context.Background()
	k := start(t).admin(runtime.ContentTypeJSON)
	addresses := k.NetworkingV1().IPAddresses()
	own, err := addresses.Get(ctx, "10.96.0.1", metav1.GetOptions{})
	if err != nil || own.Spec.ParentRef.Name != "kubernetes" {
		t.Fatalf("the API's own address: %v %v", own, err)
	}
	web := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, ClusterIP: "10.96.0.7"},
	}
	if _, err := k.CoreV1().Services("default").Create(ctx, web, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if a, err := addresses.Get(ctx, "10.96.0.7", metav1.GetOptions{}); err != nil || a.Spec.ParentRef.Name != "web" {
		t.Fatalf("%v %v", a, err)
	}
	// Whoever deletes the object does not free the address.
	if err := addresses.Delete(ctx, "10.96.0.7", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := addresses.Get(ctx, "10.96.0.7", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := k.CoreV1().Services("default").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := addresses.Get(ctx, "10.96.0.7", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("the address of a Service that is gone: %v", err)
	}
	mine := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: "10.96.0.7"},
		Spec:       networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Group: "example.com", Resource: "things", Name: "x"}},
	}
	if _, err := addresses.Create(ctx, mine, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.CoreV1().Services("default").Create(ctx, web, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Fatalf("a Service took a user's address: %v", err)
	}
	if err := addresses.Delete(ctx, "10.96.0.7", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.CoreV1().Services("default").Create(ctx, web, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Every cluster has these from its start.
func TestBuiltInObjects(t *testing.T) {
	ctx := context.Background()
	c := start(t)
	k := c.admin(runtime.ContentTypeJSON)
	if p, err := k.SchedulingV1().PriorityClasses().Get(ctx, "system-node-critical", metav1.GetOptions{}); err != nil || p.Value != 2000001000 {
		t.Errorf("%v %v", p, err)
	}
	r, err := k.NetworkingV1().ServiceCIDRs().Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil || len(r.Spec.CIDRs) != 1 || r.Spec.CIDRs[0] != "10.96.0.0/24" || len(r.Status.Conditions) != 1 {
		t.Errorf("%v %v", r, err)
	}
	for _, g := range c.table.Groups() {
		if g.Name == "apiregistration.k8s.io" {
			continue // what says it is not said of
		}
		for _, v := range g.Versions {
			path := "/apis/apiregistration.k8s.io/v1/apiservices/" + v + "." + g.Name
			if err := k.Discovery().RESTClient().Get().AbsPath(path).Do(ctx).Error(); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}
