package client

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	// pingAfter is how long a connection may be silent before it is tried
	// whether the other side is still there, and pingTimeout how long that may
	// take: a watch on a dead connection would never hear anything again.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// InProcess returns the configuration of clients that call handler, an API
// server's, directly as u: no socket, no TLS, no authentication. agent is the
// component's name, which becomes the manager of the fields it applies.
func InProcess(handler http.Handler, u user.Info, agent string) *rest.Config {
	return configure(&rest.Config{
		Host:      "http://in-process",
		Transport: &transport{handler: handler, user: u},
	}, agent)
}

// Remote returns the configuration of clients of the API server at an address
// host:port. The TLS configuration trusts the server and holds the client's
// certificate; it is not changed.
func Remote(address string, tlsConfig *tls.Config, agent string) *rest.Config {
	return configure(&rest.Config{
		Host: "https://" + address,
		Transport: &http.Transport{
			TLSClientConfig:     tlsConfig,
			TLSHandshakeTimeout: 10 * time.Second,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: pingAfter}).DialContext,
			ForceAttemptHTTP2:   true,
			HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
		},
	}, agent)
}

// FromKubeconfig returns the configuration that a kubeconfig file describes.
func FromKubeconfig(path, agent string) (*rest.Config, error) {
	c, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return configure(c, agent), nil
}

func configure(c *rest.Config, agent string) *rest.Config {
	c.UserAgent = agent
	c.QPS = -1
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	// Nobody reads a component's warnings; what it writes is its own doing.
	c.WarningHandler = rest.NoWarnings{}
	return c
}

// New returns a typed client.
func New(c *rest.Config) (kubernetes.Interface, error) {
	k, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", c.Host, err)
	}
	return k, nil
}

// Kubeconfig returns the content of a kubeconfig file whose cluster, user and
// context are called name. ca, cert and key are PEM.
func Kubeconfig(name, server string, ca, cert, key []byte) ([]byte, error) {
	return clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: server, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientCertificateData: cert, ClientKeyData: key}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}
