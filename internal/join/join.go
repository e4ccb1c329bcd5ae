// Package join makes a machine a node of a cluster that runs elsewhere: with a
// join token once, by certificates of its own from then on.
//
// The token names the cluster's CA by hash, so that the machine talks to no
// other cluster, and lets it ask for one thing: a kubelet's client certificate,
// by a CertificateSigningRequest, as a kubelet's TLS bootstrap does everywhere.
// With that it asks for its serving certificate. Keys never leave the machine;
// keys, certificates and the CA lie in one folder, and are all that a restart
// needs.
package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"clipper/internal/auth"
	"clipper/internal/client"
)

// Config is what a machine needs to join.
type Config struct {
	// Server is where the API is, as https://HOST:PORT.
	Server string
	// Token is a join token; empty if the machine has joined before.
	Token string
	// Node is the name that the node is to have, Addresses its own.
	Node      string
	Addresses []netip.Addr
	// Dir holds keys and certificates.
	Dir    string
	Clock  clock.WithTicker
	Logger *slog.Logger
	// Say is told what is waited for; nil tells nobody.
	Say func(string)
}

// Credentials are a node's.
type Credentials struct {
	Config
	address     string
	pool        *x509.CertPool
	caPEM       []byte
	client      *auth.KeyPair
	server      *auth.KeyPair
	api         *rest.Config
	connections *client.Connections
	said        sync.Once
}

// Address returns the host:port of a server's URL.
func Address(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("the server's address %q is not of the form https://HOST:PORT", server)
	}
	port := u.Port()
	if port == "" {
		port = "6443"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// Join returns the node's credentials, for which it asks the server if there
// are none yet. A server that cannot be reached is tried until ctx ends;
// whatever it refuses is returned at once.
func Join(ctx context.Context, c Config) (*Credentials, error) {
	j, token, err := open(c)
	if err != nil {
		return nil, err
	}
	if j.caPEM == nil {
		if token == nil {
			return nil, errors.New("this machine has not joined a cluster yet: give it a token, which `clipper token create` makes at the server")
		}
		if err := j.retry(ctx, func() error { return j.fetchCA(ctx, *token) }); err != nil {
			return nil, err
		}
	}
	tlsConfig := &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: j.pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c := j.client.Certificate(); c != nil {
				return c, nil
			}
			return nil, errors.New("the node's certificate has ended")
		},
	}
	j.api = client.Remote(j.address, tlsConfig, "kubelet")
	j.connections = client.Track(j.api)
	if j.client.Certificate() == nil {
		if token == nil {
			return nil, fmt.Errorf("the node's certificate ended on %s: give the node a new token, which `clipper token create` makes at the server",
				j.client.Ended().UTC().Format(time.RFC3339))
		}
		bearer := client.Remote(j.address, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: j.pool}, "kubelet-bootstrap")
		bearer.BearerToken = token.BootstrapToken.String()
		if err := j.retry(ctx, func() error { return j.request(ctx, bearer, j.client, clientCertificate) }); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// open reads what the machine has, and checks that all belongs together.
func open(c Config) (*Credentials, *auth.JoinToken, error) {
	j := &Credentials{Config: c}
	var err error
	if j.address, err = Address(c.Server); err != nil {
		return nil, nil, err
	}
	var token *auth.JoinToken
	if c.Token != "" {
		t, err := auth.ParseJoinToken(c.Token)
		if err != nil {
			return nil, nil, err
		}
		token = &t
	}
	document, ca, err := auth.LoadCA(c.Dir)
	if err != nil {
		return nil, nil, err
	}
	if j.client, err = auth.OpenKeyPair(c.Dir, "kubelet-client", c.Clock); err != nil {
		return nil, nil, err
	}
	if j.server, err = auth.OpenKeyPair(c.Dir, "kubelet-serving", c.Clock); err != nil {
		return nil, nil, err
	}
	if ca == nil {
		return j, token, nil
	}
	if token != nil && auth.KeyHash(ca) != token.CA {
		return nil, nil, fmt.Errorf("this machine is a node of another cluster than the token's: %s holds what it joined that one with; remove the node's state to have it join this one", c.Dir)
	}
	if held := j.client.Certificate(); held != nil && held.Leaf.Subject.CommonName != auth.NodeUser(c.Node) {
		return nil, nil, fmt.Errorf("this machine joined as node %q and not as %q: give it that name, or remove the node's state (%s) to have it join anew",
			auth.NodeOf(held.Leaf.Subject.CommonName), c.Node, c.Dir)
	}
	j.trust(document, ca)
	return j, token, nil
}

func (j *Credentials) trust(document []byte, ca *x509.Certificate) {
	j.caPEM, j.pool = document, x509.NewCertPool()
	j.pool.AddCert(ca)
}

// CAPool returns the cluster's CA; not to be changed.
func (j *Credentials) CAPool() *x509.CertPool { return j.pool }

// Kubelet returns the configuration of clients that act as the node.
func (j *Credentials) Kubelet() *rest.Config { return j.api }

// Network returns the configuration of clients that act as the node's network
// (see auth.NodeNetworkUser). Both share their connections.
func (j *Credentials) Network() *rest.Config {
	c := rest.CopyConfig(j.api)
	c.UserAgent = "clipper-network"
	c.Impersonate = rest.ImpersonationConfig{UserName: auth.NodeNetworkUser(j.Node), Groups: []string{auth.NodeNetworks}}
	return c
}

// Serving returns the TLS side of the node's own API, for which it asks for a
// certificate if it has none for its name and addresses. Only clients whose
// certificate chains to the cluster's CA get through the handshake.
func (j *Credentials) Serving(ctx context.Context) (*tls.Config, error) {
	if !j.server.Holds(j.Node, j.Addresses...) {
		if err := j.retry(ctx, func() error { return j.request(ctx, j.api, j.server, servingCertificate) }); err != nil {
			return nil, err
		}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: j.pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := j.server.Certificate(); c != nil {
				return c, nil
			}
			return nil, errors.New("the node's serving certificate has ended")
		},
	}, nil
}

// kind is one of the two certificates of a node.
type kind struct {
	signer  string
	usage   certificatesv1.KeyUsage
	serving bool
}

var (
	clientCertificate  = kind{certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.UsageClientAuth, false}
	servingCertificate = kind{certificatesv1.KubeletServingSignerName, certificatesv1.UsageServerAuth, true}
)
