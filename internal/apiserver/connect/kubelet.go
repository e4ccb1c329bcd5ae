package connect

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// defaultKubeletPort is where kubelets listen that do not say.
const defaultKubeletPort = 10250

// kubelet is where a node's kubelet is reached.
type kubelet struct {
	node    string
	address string // host:port, the host an IP address
}

type kubeletKey struct{}

// at makes requests of ctx go to a kubelet.
func at(ctx context.Context, l kubelet) context.Context {
	return context.WithValue(ctx, kubeletKey{}, l)
}

func kubeletOf(ctx context.Context) kubelet {
	l, _ := ctx.Value(kubeletKey{}).(kubelet)
	return l
}

// url returns the address of a path on the kubelet. The host is the node's
// name, which is what its certificate must say and by what connections are
// shared; the dialler knows the address.
func (l kubelet) url(path string, query url.Values) *url.URL {
	return &url.URL{Scheme: "https", Host: l.node, Path: path, RawQuery: query.Encode()}
}

// locate finds a node's kubelet.
func (k *Connector) locate(name string) (kubelet, error) {
	node, ok := k.Objects.Object(schema.GroupResource{Resource: "nodes"}, "", name).(*corev1.Node)
	if !ok {
		return kubelet{}, apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, name)
	}
	port := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port <= 0 || port > 65535 {
		port = defaultKubeletPort
	}
	address, err := nodeAddress(node)
	if err != nil {
		return kubelet{}, err
	}
	return kubelet{name, net.JoinHostPort(address.String(), strconv.Itoa(port))}, nil
}

// nodeAddress returns the address that a node is best reached at.
func nodeAddress(node *corev1.Node) (netip.Addr, error) {
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range node.Status.Addresses {
			if a.Type != kind {
				continue
			}
			if ip, err := netip.ParseAddr(a.Address); err == nil && !ip.IsUnspecified() && !ip.IsMulticast() {
				return ip, nil
			}
		}
	}
	return netip.Addr{}, apierrors.NewServiceUnavailable(fmt.Sprintf("node %q has told no address yet", node.Name))
}

// dialKubelet connects to a kubelet and makes sure that it is the node's.
func (k *Connector) dialKubelet(ctx context.Context, l kubelet) (net.Conn, error) {
	raw, err := k.Dial(ctx, "tcp", l.address)
	if err != nil {
		return nil, err
	}
	config := k.Kubelet.Clone()
	config.ServerName = l.node
	config.NextProtos = []string{"http/1.1"}
	conn := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("kubelet of node %s at %s: %w", l.node, l.address, err)
	}
	return conn, nil
}
