package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	testingclock "k8s.io/utils/clock/testing"
)

type door struct {
	*Authenticator
	tokens *tokens
	pki    *PKI
	clock  *testingclock.FakePassiveClock
}

func newDoor(t testing.TB) *door {
	pki, clk := newPKI(t, "", birth)
	c := newTokens(t)
	return &door{
		Authenticator: NewAuthenticator(AuthenticatorConfig{
			ClientCA: pki.CAPool(), Tokens: c.Verifier, Clock: clk,
			Authorizer: NewRules(c.cluster, c.cluster), Logger: slog.New(slog.DiscardHandler),
		}),
		tokens: c, pki: pki, clock: clk,
	}
}

// with presents a certificate as a TLS handshake would.
func (d *door) with(t testing.TB, r *http.Request, pki *PKI, name string, groups ...string) *http.Request {
	c, err := pki.ClientCert(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.Leaf}}
	return r
}

func describe(u user.Info) string {
	if u == nil {
		return ""
	}
	return u.GetName() + " " + strings.Join(u.GetGroups(), ",")
}

func TestAuthenticate(t *testing.T) {
	d := newDoor(t)
	other, _ := newPKI(t, "", birth)
	token := d.tokens.sign(t, Binding{}, nil, time.Hour)
	foreign := d.tokens.sign(t, Binding{}, []string{"vault"}, time.Hour)
	bearer := func(r *http.Request, token string) *http.Request {
		r.Header.Set("Authorization", "Bearer "+token)
		return r
	}
	get := func(path string) *http.Request { return httptest.NewRequest("GET", path, nil) }
	robot := "system:serviceaccount:ns:robot system:serviceaccounts,system:serviceaccounts:ns,system:authenticated"
	serving, err := d.pki.ca.pair(leaf{user: "system:masters", names: []string{"x"}}, birth)
	if err != nil {
		t.Fatal(err)
	}
	asClient := get("/api")
	asClient.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{serving.Leaf}}
	socket := func(protocols string) *http.Request {
		r := get("/api/v1/namespaces/ns/pods/p/exec")
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Protocol", protocols)
		return r
	}
	encoded := webSocketTokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(token))
	for _, test := range []struct {
		name string
		r    *http.Request
		want string // empty: 401
	}{
		{"nothing", get("/api"), ""},
		{"nothing, health", get("/healthz"), "system:anonymous system:unauthenticated"},
		{"nothing, version", get("/version"), "system:anonymous system:unauthenticated"},
		{"nothing, CA bundle", get(BootstrapPath), "system:anonymous system:unauthenticated"},
		{"nothing, below health", get("/healthz/etcd"), ""},
		{"nothing, health written to", httptest.NewRequest("POST", "/healthz", nil), ""},
		{"nothing, metrics", get("/metrics"), ""},
		{"certificate", d.with(t, get("/api"), d.pki, "kubernetes-admin", Masters), "kubernetes-admin system:masters,system:authenticated"},
		{"certificate of another cluster", d.with(t, get("/api"), other, "kubernetes-admin", Masters), ""},
		{"certificate of another cluster, health", d.with(t, get("/healthz"), other, "kubernetes-admin", Masters), ""},
		{"certificate of another cluster and a token", bearer(d.with(t, get("/api"), other, "x"), token), robot},
		{"certificate without a user", d.with(t, get("/api"), d.pki, "", Masters), ""},
		{"a server's certificate", asClient, ""},
		{"token", bearer(get("/api"), token), robot},
		{"token for another audience", bearer(get("/api"), foreign), ""},
		{"bad token", bearer(get("/api"), "x.y.z"), ""},
		{"bad token, health", bearer(get("/healthz"), "x.y.z"), ""},
		{"empty token", bearer(get("/api"), ""), ""},
		{"password", func() *http.Request { r := get("/api"); r.SetBasicAuth("admin", "admin"); return r }(), ""},
		{"token of a WebSocket", socket(encoded + ", v5.channel.k8s.io"), robot},
		{"token of a WebSocket, nothing else", socket(encoded), ""},
		{"bad token of a WebSocket", socket(webSocketTokenPrefix + "e30, v5.channel.k8s.io"), ""},
		{"in this process", get("/api").WithContext(WithUser(context.Background(), &user.DefaultInfo{Name: "me"})), "me "},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // the second time it may be known
				r := test.r.Clone(test.r.Context())
				u, err := d.Authenticate(r)
				if describe(u) != test.want {
					t.Fatalf("user is %q (%v), want %q", describe(u), err, test.want)
				}
				if test.want == "" && !apierrors.IsUnauthorized(err) {
					t.Fatalf("error is %v", err)
				}
				if err == nil && (r.Header.Get("Authorization") != "" || strings.Contains(r.Header.Get("Sec-WebSocket-Protocol"), webSocketTokenPrefix)) {
					t.Error("the credential is still in the request")
				}
			}
		})
	}
	if s := Unauthorized().Status(); s.Message != "Unauthorized" || s.Code != 401 || s.Reason != "Unauthorized" {
		t.Errorf("status is %+v", s)
	}
}

// A connection may outlive the certificate it was opened with.
func TestCertificateEndsOnAnOpenConnection(t *testing.T) {
	d := newDoor(t)
	r := d.with(t, httptest.NewRequest("GET", "/api", nil), d.pki, "u")
	if _, err := d.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	d.clock.SetTime(birth.Add(leafLife + time.Second))
	if _, err := d.Authenticate(r); !apierrors.IsUnauthorized(err) {
		t.Errorf("error is %v", err)
	}
}

func TestImpersonate(t *testing.T) {
	for _, test := range []struct {
		name    string
		groups  []string // of who asks
		headers map[string][]string
		want    string
		fails   string
	}{
		{"nobody", []string{Masters}, nil, "boss system:masters,system:authenticated", ""},
		{"user", []string{Masters}, map[string][]string{"Impersonate-User": {"jane"}}, "jane system:authenticated", ""},
		{"user and groups", []string{Masters}, map[string][]string{"Impersonate-User": {"jane"}, "Impersonate-Group": {"a", "b"}}, "jane a,b,system:authenticated", ""},
		{"ServiceAccount", []string{Masters}, map[string][]string{"Impersonate-User": {"system:serviceaccount:ns:robot"}}, "system:serviceaccount:ns:robot system:serviceaccounts,system:serviceaccounts:ns,system:authenticated", ""},
		{"anonymous", []string{Masters}, map[string][]string{"Impersonate-User": {Anonymous}}, "system:anonymous system:unauthenticated", ""},
		{"groups alone", []string{Masters}, map[string][]string{"Impersonate-Group": {"a"}}, "", "without impersonating a user"},
		{"not allowed", nil, map[string][]string{"Impersonate-User": {"jane"}}, "", `users "jane" is forbidden: User "boss" cannot impersonate resource "users" in API group "" at the cluster scope`},
		{"not allowed, ServiceAccount", nil, map[string][]string{"Impersonate-User": {"system:serviceaccount:ns:robot"}}, "", `serviceaccounts "robot" is forbidden: User "boss" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "ns"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDoor(t)
			r := d.with(t, httptest.NewRequest("GET", "/api", nil), d.pki, "boss", test.groups...)
			for k, v := range test.headers {
				r.Header[k] = v
			}
			u, err := d.Authenticate(r)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("error is %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil || describe(u) != test.want {
				t.Fatalf("user is %q (%v), want %q", describe(u), err, test.want)
			}
			for k := range r.Header {
				if strings.HasPrefix(k, "Impersonate") {
					t.Errorf("%s is still in the request", k)
				}
			}
		})
	}
}

// Each part of the new identity must be allowed, not the user alone.
func TestImpersonateEachPart(t *testing.T) {
	d := newDoor(t)
	var asked []string
	d.Authorizer = authorizerFunc(func(a Attributes) bool {
		asked = append(asked, a.Verb+" "+a.APIGroup+"/"+a.Resource+"/"+a.Subresource+" "+a.Name)
		return a.Resource != "userextras" || a.Name != "secret"
	})
	request := func(scope string) *http.Request {
		r := d.with(t, httptest.NewRequest("GET", "/api", nil), d.pki, "boss")
		r.Header["Impersonate-User"] = []string{"jane"}
		r.Header["Impersonate-Uid"] = []string{"1"}
		r.Header["Impersonate-Group"] = []string{"g"}
		r.Header["Impersonate-Extra-Acme.com%2fscopes"] = []string{scope}
		return r
	}
	u, err := d.Authenticate(request("view"))
	if err != nil {
		t.Fatal(err)
	}
	if u.GetUID() != "1" || !slices.Equal(u.GetExtra()["acme.com/scopes"], []string{"view"}) {
		t.Errorf("user is %v", u)
	}
	want := []string{"impersonate /users/ jane", "impersonate /groups/ g", "impersonate authentication.k8s.io/uids/ 1", "impersonate authentication.k8s.io/userextras/acme.com/scopes view"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	if _, err := d.Authenticate(request("secret")); !apierrors.IsForbidden(err) {
		t.Errorf("error is %v", err)
	}
}

type authorizerFunc func(Attributes) bool

func (f authorizerFunc) Authorize(_ context.Context, a Attributes) (bool, string, error) {
	return f(a), "", nil
}

func BenchmarkCertificate(b *testing.B) {
	d := newDoor(b)
	r := d.with(b, httptest.NewRequest("GET", "/api", nil), d.pki, "u", "g")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}
