package auth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
)

// BootstrapPath is where anyone may read the CA bundle, to check it against
// the hash in a join token.
const BootstrapPath = "/bootstrap/ca.crt"

// NetworkPath is where nodes read how the cluster's network is laid out.
const NetworkPath = "/bootstrap/network.json"

// publicPaths answer callers without a credential.
var publicPaths = map[string]bool{
	"/healthz": true, "/livez": true, "/readyz": true,
	"/version": true, "/version/": true,
	BootstrapPath: true,
}

// Public tells whether anyone may read a path.
func Public(path string) bool { return publicPaths[path] }

// AuthenticatorConfig is what an Authenticator needs.
type AuthenticatorConfig struct {
	// ClientCA is what client certificates must chain to.
	ClientCA *x509.CertPool
	Tokens   *Verifier
	// Authorizer judges impersonation.
	Authorizer Authorizer
	Clock      clock.PassiveClock
	Logger     *slog.Logger
}

// Authorizer decides whether something may be done. The reason explains a
// denial where there is more to say than that no rule allows it.
type Authorizer interface {
	Authorize(ctx context.Context, a Attributes) (allowed bool, reason string, err error)
}

// Authenticator finds out who a request is from: a caller in this process
// (WithUser), a client certificate, or a token, in this order.
type Authenticator struct {
	AuthenticatorConfig
	certificates recent[certified]
}

// certified is a client certificate that has been verified. The check is made
// once and not on each request; only time can undo it.
type certified struct {
	user user.Info
	ends time.Time
}

// NewAuthenticator returns an Authenticator.
func NewAuthenticator(c AuthenticatorConfig) *Authenticator {
	return &Authenticator{AuthenticatorConfig: c}
}

var anonymous user.Info = &user.DefaultInfo{Name: Anonymous, Groups: []string{Unauthenticated}} // never changed

// Authenticate returns the caller, after impersonation if the request asks for
// it. Credentials are taken out of the request's headers, so that no proxy
// passes them on. Errors are StatusErrors: 401 if the caller is unknown, 403
// if it may not impersonate.
func (a *Authenticator) Authenticate(r *http.Request) (user.Info, error) {
	u, err := a.caller(r)
	if err != nil {
		a.Logger.Debug("request refused", "path", r.URL.Path, "from", r.RemoteAddr, "error", err)
		return nil, Unauthorized()
	}
	r.Header.Del("Authorization")
	if u == nil {
		if !publicPaths[r.URL.Path] || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
			return nil, Unauthorized()
		}
		u = anonymous
	}
	return a.impersonate(r, u)
}

// caller returns nil for a request without credentials.
func (a *Authenticator) caller(r *http.Request) (user.Info, error) {
	if u, ok := UserFrom(r.Context()); ok {
		return u, nil
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		u, err := a.certificate(r.TLS.PeerCertificates)
		// A bad certificate may come along with a good token: a client that
		// presents what it has to any server.
		if err == nil || r.Header["Authorization"] == nil {
			return u, err
		}
	}
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return a.webSocketToken(r)
	}
	scheme, token, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return nil, nil
	}
	u, _, err := a.Tokens.Verify(token, nil)
	return u, err
}

func (a *Authenticator) certificate(chain []*x509.Certificate) (user.Info, error) {
	key := sha256.Sum256(chain[0].Raw)
	now := a.Clock.Now()
	if known, ok := a.certificates.get(key); ok {
		if now.After(known.ends) {
			return nil, errors.New("the client certificate has expired")
		}
		return known.user, nil
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	verified, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.ClientCA, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	subject := chain[0].Subject
	if subject.CommonName == "" {
		return nil, errors.New("the client certificate names no user")
	}
	c := certified{
		user: &user.DefaultInfo{
			Name:   subject.CommonName,
			Groups: append(slices.Clone(subject.Organization), Authenticated),
		},
	}
	for _, link := range verified[0] {
		if c.ends.IsZero() || link.NotAfter.Before(c.ends) {
			c.ends = link.NotAfter
		}
	}
	a.certificates.put(key, c)
	return c.user, nil
}
