// Package connect serves the subresources that are connections to something
// outside the API: exec, attach, portforward, log, and the proxies of pods,
// services and nodes.
//
// Where a connection goes is looked up in the API's own objects, and what was
// looked up is what is dialled: no name is resolved again, no redirect is
// followed, and addresses of the server's own machine are out of bounds. A
// kubelet must prove to be the one of the node's name.
//
// Kubelets are asked over SPDY, which all of them speak. A client that speaks
// SPDY or an older WebSocket protocol is connected straight through; what newer
// clients prefer (v5.channel.k8s.io, and SPDY inside a WebSocket) is translated.
//
// The caller has authorised the request: exec, attach and portforward as
// "create", whatever the method (auth.UpgradeVerb).
package connect

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"clipper/internal/scheme"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Objects reads the newest state of the cluster; the watch cache does.
type Objects interface {
	// Object returns nil if there is no such object.
	Object(resource schema.GroupResource, namespace, name string) metav1.Object
	// Objects returns all of a namespace.
	Objects(resource schema.GroupResource, namespace string) []runtime.Object
}

// Config is what a Connector needs.
type Config struct {
	Objects Objects
	// Kubelet is the client's side of TLS to kubelets: the cluster's CA and the
	// API server's own certificate. The server's name is set for each.
	Kubelet *tls.Config
	// Dial opens connections; nil is a net.Dialer's.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger
}

// Connector makes the connections.
type Connector struct {
	Config
	kubelets *http.Transport
	backends *http.Transport
}

// Request names what to connect to.
type Request struct {
	Resource    *scheme.Resource
	Subresource string
	Namespace   string
	// Name of the object; of a proxy also scheme:name:port.
	Name string
	// Path is what follows the subresource, with its slash; a proxy's.
	Path string
	// Object is the object itself, if it was looked up.
	Object runtime.Object
}

// New returns a Connector.
func New(c Config) *Connector {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	k := &Connector{Config: c}
	// HTTP/1.1 only, as connections are taken over.
	k.kubelets = &http.Transport{
		DialTLSContext:      func(ctx context.Context, _, _ string) (net.Conn, error) { return k.dialKubelet(ctx, kubeletOf(ctx)) },
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
	k.backends = &http.Transport{
		DialContext: c.Dial,
		// What runs in pods has certificates of its own, if any; there is
		// nothing to check them against.
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
	return k
}

// Close closes idle connections.
func (k *Connector) Close() {
	k.kubelets.CloseIdleConnections()
	k.backends.CloseIdleConnections()
}

// Connect serves one request. An error that it returns was not answered yet
// and is a StatusError.
func (k *Connector) Connect(w http.ResponseWriter, r *http.Request, c Request) error {
	serve := subresources[c.Resource.Name+"/"+c.Subresource]
	if serve == nil {
		return apierrors.NewMethodNotSupported(c.Resource.GroupResource(), r.Method)
	}
	return serve(k, w, r, &c)
}

var subresources = map[string]func(*Connector, http.ResponseWriter, *http.Request, *Request) error{ // never changed
	"pods/exec":        (*Connector).exec,
	"pods/attach":      (*Connector).attach,
	"pods/portforward": (*Connector).portForward,
	"pods/log":         (*Connector).log,
	"pods/proxy":       (*Connector).proxyPod,
	"services/proxy":   (*Connector).proxyService,
	"nodes/proxy":      (*Connector).proxyNode,
}
