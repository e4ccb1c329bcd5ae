package apiserver_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"clipper/internal/apiserver"
	"clipper/internal/auth"
	"clipper/internal/cel"
	"clipper/internal/scheme"
	"clipper/internal/store"
	"clipper/internal/store/pebble"
	"clipper/internal/validate"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// masters lets the masters do everything and others nothing.
type masters struct{}

func (masters) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	for _, g := range a.User.GetGroups() {
		if g == user.SystemPrivilegedGroup {
			return true, "", nil
		}
	}
	return false, "", nil
}

// cluster is a running API server on a real socket.
type cluster struct {
	t      testing.TB
	server *apiserver.Server
	store  store.Store
	table  *scheme.Table
	pki    *auth.PKI
	addr   string
	serve  *tls.Config
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func start(t testing.TB, change ...func(*apiserver.Config)) *cluster {
	t.Helper()
	db, err := pebble.Open(pebble.Config{Memory: true, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return startOn(t, db, change...)
}

func startOn(t testing.TB, db store.Store, change ...func(*apiserver.Config)) *cluster {
	t.Helper()
	pki, err := auth.LoadOrCreate(t.TempDir(), clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	serving, err := pki.ServingTLS("kube-apiserver", auth.APIServerNames("cluster.local")...)
	if err != nil {
		t.Fatal(err)
	}
	table := scheme.New()
	kinds := apiserver.NewCache(db, table, clock.RealClock{}, quiet())
	tokens, err := auth.NewVerifier(pki.TokenKey(), clock.RealClock{}, kinds)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := auth.NewSigner(pki.TokenKey(), clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	c := apiserver.Config{
		Store: db, Table: table, Cache: kinds,
		Authenticator: auth.NewAuthenticator(auth.AuthenticatorConfig{
			ClientCA: pki.CAPool(), Tokens: tokens, Authorizer: masters{}, Clock: clock.RealClock{}, Logger: quiet(),
		}),
		Authorizer: masters{}, Signer: signer, Verifier: tokens, Validator: validate.New(table, cel.NewCompiler()),
		ServiceCIDR: netip.MustParsePrefix("10.96.0.0/24"),
		Advertise:   netip.MustParseAddrPort("192.0.2.1:6443"),
		Logger:      quiet(),
	}
	for _, f := range change {
		f(&c)
	}
	s, err := apiserver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.Run(ctx) }()
	go func() { done <- s.Serve(ctx, serving, l) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	rctx, rcancel := context.WithTimeout(ctx, 60*time.Second)
	defer rcancel()
	if err := s.Ready(rctx); err != nil {
		t.Fatal(err)
	}
	return &cluster{t: t, server: s, store: db, table: table, pki: pki, addr: l.Addr().String(), serve: serving}
}

// config returns a client's configuration as a user.
func (c *cluster) config(contentType, name string, groups ...string) *rest.Config {
	c.t.Helper()
	own, err := c.pki.ClientTLS(name, groups...)
	if err != nil {
		c.t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: own, ForceAttemptHTTP2: true}
	c.t.Cleanup(tr.CloseIdleConnections)
	return &rest.Config{
		Host: "https://" + c.addr, Transport: tr, QPS: -1, UserAgent: "test",
		ContentConfig: rest.ContentConfig{ContentType: contentType, AcceptContentTypes: contentType},
	}
}

// admin returns a typed client of a master.
func (c *cluster) admin(contentType string) kubernetes.Interface {
	c.t.Helper()
	k, err := kubernetes.NewForConfig(c.config(contentType, "admin", user.SystemPrivilegedGroup))
	if err != nil {
		c.t.Fatal(err)
	}
	return k
}

// anonymous is the TLS side of a client without a certificate.
func (c *cluster) anonymous(t *testing.T) *tls.Config {
	t.Helper()
	return &tls.Config{RootCAs: c.pki.CAPool()}
}
