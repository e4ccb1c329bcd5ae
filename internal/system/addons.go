package system

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

// dnsService is the Service of the DNS that every node answers by itself, at
// the Service's own address. It selects no pods and needs no endpoints: it
// holds the address, and is where people and programs look for it.
func dnsService(address netip.Addr) *corev1.Service {
	port := func(name string, protocol corev1.Protocol) corev1.ServicePort {
		return corev1.ServicePort{Name: name, Port: 53, TargetPort: intstr.FromInt32(53), Protocol: protocol}
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: "kube-dns", Namespace: metav1.NamespaceSystem,
			Labels: map[string]string{"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "ClipperDNS"},
		},
		Spec: corev1.ServiceSpec{
			ClusterIP: address.String(),
			Ports:     []corev1.ServicePort{port("dns", corev1.ProtocolUDP), port("dns-tcp", corev1.ProtocolTCP)},
		},
	}
}

// addons creates what a cluster has besides what its API server does.
func addons(ctx context.Context, c kubernetes.Interface, services netip.Prefix) error {
	// Creating it again would be refused for its address, which it has.
	want, in := dnsService(dnsAddress(services)), c.CoreV1().Services(metav1.NamespaceSystem)
	_, err := in.Get(ctx, want.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = in.Create(ctx, want, metav1.CreateOptions{})
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("the DNS Service: %w", err)
	}
	<-ctx.Done()
	return nil
}
