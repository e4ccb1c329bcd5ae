package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
)

var birth = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func newPKI(t testing.TB, dir string, at time.Time) (*PKI, *testingclock.FakePassiveClock) {
	t.Helper()
	clk := testingclock.NewFakePassiveClock(at)
	p, err := LoadOrCreate(dir, clk)
	if err != nil {
		t.Fatal(err)
	}
	return p, clk
}

func TestPKIIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, _ := newPKI(t, dir, birth)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		info, _ := e.Info()
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), info.Mode().Perm())
		}
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"ca.crt", "ca.key", "sa.key"}) {
		t.Errorf("files are %v", names)
	}
	second, _ := newPKI(t, dir, birth.Add(time.Hour))
	if string(first.CABundle()) != string(second.CABundle()) || !first.TokenKey().Equal(second.TokenKey()) {
		t.Error("a second start has other credentials")
	}
}

// A start that was cut short at any file is finished by the next.
func TestPKIInterrupted(t *testing.T) {
	for _, present := range [][]string{{}, {"sa.key"}, {"sa.key", "ca.key"}} {
		dir := t.TempDir()
		whole, _ := newPKI(t, dir, birth)
		for _, name := range []string{"sa.key", "ca.key", "ca.crt"} {
			if !slices.Contains(present, name) {
				os.Remove(filepath.Join(dir, name))
			}
		}
		again, _ := newPKI(t, dir, birth)
		if got := again.TokenKey().Equal(whole.TokenKey()); got != slices.Contains(present, "sa.key") {
			t.Errorf("%v: token key is the same: %v", present, got)
		}
		// What the old CA signed is good with the new one if the key was there.
		old, err := whole.ClientCert("u")
		if err != nil {
			t.Fatal(err)
		}
		_, err = old.Leaf.Verify(x509.VerifyOptions{Roots: again.CAPool(), CurrentTime: birth, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if got := err == nil; got != slices.Contains(present, "ca.key") {
			t.Errorf("%v: certificate of before: %v", present, err)
		}
		newPKI(t, dir, birth)
	}
}

func TestPKIRefusesWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		at    time.Time
		says  string
	}{
		"missing ca.key":  {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "ca.key")) }, birth, "ca.key is missing"},
		"missing sa.key":  {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "sa.key")) }, birth, "sa.key is missing"},
		"readable key":    {func(t *testing.T, dir string) { os.Chmod(filepath.Join(dir, "ca.key"), 0o644) }, birth, "chmod 600"},
		"damaged key":     {func(t *testing.T, dir string) { os.WriteFile(filepath.Join(dir, "ca.key"), []byte("x"), 0o600) }, birth, "ca.key is damaged"},
		"damaged cert":    {func(t *testing.T, dir string) { os.WriteFile(filepath.Join(dir, "ca.crt"), nil, 0o600) }, birth, "ca.crt is damaged"},
		"a huge file":     {func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, "ca.crt"), 1<<30) }, birth, "is not a PEM file"},
		"of another time": {func(*testing.T, string) {}, birth.Add(11 * 365 * 24 * time.Hour), "ended on 2036"},
		"before its time": {func(*testing.T, string) {}, birth.Add(-time.Hour), "check this machine's clock"},
		"another CA's key": {func(t *testing.T, dir string) {
			other := t.TempDir()
			newPKI(t, other, birth)
			data, err := os.ReadFile(filepath.Join(other, "ca.key"))
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join(dir, "ca.key"), data, 0o600)
		}, birth, "do not belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			newPKI(t, dir, birth)
			test.spoil(t, dir)
			_, err := LoadOrCreate(dir, testingclock.NewFakePassiveClock(test.at))
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v, want one that says %q", err, test.says)
			}
		})
	}
}

// handshake connects a client to a server and returns the server's view.
func handshake(t *testing.T, server, client *tls.Config, now time.Time) (tls.ConnectionState, tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server, client = server.Clone(), client.Clone()
	server.Time = func() time.Time { return now }
	client.Time = server.Time
	far := tls.Server(a, server)
	failed := make(chan error, 1)
	go func() {
		err := far.Handshake()
		if err == nil {
			_, err = far.Write([]byte("x"))
		}
		a.Close()
		failed <- err
	}()
	near := tls.Client(b, client)
	err := near.Handshake()
	if err == nil {
		_, err = io.ReadFull(near, make([]byte, 1))
	}
	b.Close()
	return far.ConnectionState(), near.ConnectionState(), errors.Join(err, <-failed)
}

func TestHandshakes(t *testing.T) {
	p, _ := newPKI(t, "", birth)
	other, _ := newPKI(t, "", birth)
	must := func(c *tls.Config, err error) *tls.Config {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	api := must(p.ServingTLS("kube-apiserver", APIServerNames("cluster.local", "10.96.0.1", "host")...))
	kubelet := must(p.KubeletServingTLS("n1", "192.168.0.1"))
	named := func(c *tls.Config, name string) *tls.Config { c = c.Clone(); c.ServerName = name; return c }
	client := must(p.ClientTLS("me", "g1", "g2"))
	stranger := must(other.ClientTLS("me"))
	stranger.RootCAs = p.CAPool()
	// A server's certificate does not make a client.
	serverAsClient := &tls.Config{RootCAs: p.CAPool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return kubelet.GetCertificate(nil)
	}}
	for _, test := range []struct {
		name           string
		server, client *tls.Config
		ok             bool
	}{
		{"API server by name", api, named(client, "kubernetes.default.svc.cluster.local"), true},
		{"API server by address", api, named(client, "10.96.0.1"), true},
		{"API server by IPv6", api, named(client, "::1"), true},
		{"API server by a wrong name", api, named(client, "kubernetes.example"), false},
		{"API server without a certificate", api, &tls.Config{RootCAs: p.CAPool(), ServerName: "localhost"}, true},
		{"API server of another cluster", api, named(must(other.ClientTLS("me")), "localhost"), false},
		{"kubelet", kubelet, named(client, "n1"), true},
		{"kubelet of another node", kubelet, named(client, "n2"), false},
		{"kubelet without a certificate", kubelet, &tls.Config{RootCAs: p.CAPool(), ServerName: "n1"}, false},
		{"kubelet by another cluster's client", kubelet, named(stranger, "n1"), false},
		{"kubelet by a server's certificate", kubelet, named(serverAsClient, "n1"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			far, _, err := handshake(t, test.server, test.client, birth)
			if (err == nil) != test.ok {
				t.Fatalf("error is %v", err)
			}
			if test.ok && len(far.PeerCertificates) > 0 {
				if s := far.PeerCertificates[0].Subject; s.CommonName != "me" || !slices.Equal(s.Organization, []string{"g1", "g2"}) {
					t.Errorf("subject is %v", s)
				}
			}
		})
	}
}

func TestLeavesAreRenewed(t *testing.T) {
	p, clk := newPKI(t, "", birth)
	server, err := p.ServingTLS("s", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	client, err := p.ClientTLS("c")
	if err != nil {
		t.Fatal(err)
	}
	client.ServerName = "localhost"
	var serials []string
	for _, after := range []time.Duration{0, 24 * time.Hour, 300 * 24 * time.Hour, 900 * 24 * time.Hour, caLife - time.Hour} {
		now := birth.Add(after)
		clk.SetTime(now)
		far, near, err := handshake(t, server, client, now)
		if err != nil {
			t.Fatalf("after %s: %v", after, err)
		}
		serials = append(serials, far.PeerCertificates[0].SerialNumber.String()+near.PeerCertificates[0].SerialNumber.String())
		if end := far.PeerCertificates[0].NotAfter; end.After(p.ca.cert.NotAfter) {
			t.Errorf("certificate ends on %s, after its authority", end)
		}
	}
	if serials[0] != serials[1] {
		t.Error("certificates were made anew after a day")
	}
	if u := slices.Compact(slices.Clone(serials)); len(u) != 4 {
		t.Errorf("%d certificates, want 4", len(u))
	}
}

func TestWriteFilesIsWholeOrNot(t *testing.T) {
	dir := t.TempDir()
	// The second file cannot be put in place, as a directory is in its way.
	if err := os.MkdirAll(filepath.Join(dir, "b", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFiles(dir, []file{{"a", []byte("1")}, {"b", []byte("2")}, {"c", []byte("3")}}); err == nil {
		t.Fatal("no error")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 { // a, and b the directory
		t.Errorf("left behind: %v", entries)
	}
}

func BenchmarkCreate(b *testing.B) {
	for b.Loop() {
		newPKI(b, "", birth)
	}
}

func BenchmarkClientCert(b *testing.B) {
	p, _ := newPKI(b, "", birth)
	for b.Loop() {
		if _, err := p.ClientCert("u"); err != nil {
			b.Fatal(err)
		}
	}
}
