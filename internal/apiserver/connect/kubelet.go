package connect

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
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

// upgraded is a connection after its protocol was switched. It starts with
// what was already read.
type upgraded struct {
	net.Conn
	r *bufio.Reader
}

func (u *upgraded) Read(p []byte) (int, error) { return u.r.Read(p) }

// upgrade asks a kubelet to switch to SPDY. If the kubelet declines, the
// answer says why, and the connection is nil; the caller closes its body.
func (k *Connector) upgrade(ctx context.Context, l kubelet, u *url.URL, protocol string) (net.Conn, *http.Response, error) {
	conn, err := k.dialKubelet(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	// Whoever waits for the head of the answer may go away.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	r := &http.Request{Method: http.MethodPost, URL: u, Host: u.Host, Header: http.Header{
		"Connection":                {"Upgrade"},
		"Upgrade":                   {"SPDY/3.1"},
		"X-Stream-Protocol-Version": {protocol},
	}}
	reader := bufio.NewReader(conn)
	var response *http.Response
	if err = r.Write(conn); err == nil {
		response, err = http.ReadResponse(reader, r)
	}
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("kubelet of node %s: %w", l.node, err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		response.Body = &closing{response.Body, conn}
		return nil, response, nil
	}
	return &upgraded{conn, reader}, nil, nil
}
