package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

const (
	kubelet  = certificatesv1.KubeAPIServerClientKubeletSignerName
	serving  = certificatesv1.KubeletServingSignerName
	forUsers = certificatesv1.KubeAPIServerClientSignerName
)

// ask returns the spec of a request by the node n1 that change has changed.
func ask(t *testing.T, signer string, key crypto.Signer, change func(*certificatesv1.CertificateSigningRequestSpec, *x509.CertificateRequest)) *certificatesv1.CertificateSigningRequestSpec {
	t.Helper()
	spec := &certificatesv1.CertificateSigningRequestSpec{
		SignerName: signer, Username: "system:node:n1", Groups: []string{Nodes, Authenticated},
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
	}
	r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:n1", Organization: []string{Nodes}}}
	if signer == serving {
		spec.Usages[1] = certificatesv1.UsageServerAuth
		r.DNSNames, r.IPAddresses = []string{"n1"}, []net.IP{net.IPv4(192, 0, 2, 1)}
	}
	if change != nil {
		change(spec, r)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	if err != nil {
		t.Fatal(err)
	}
	if spec.Request == nil {
		spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	return spec
}

// TestSignable: Kubernetes's signers certify what their documentation says and
// nothing else.
func TestSignable(t *testing.T) {
	type spec = certificatesv1.CertificateSigningRequestSpec
	type request = x509.CertificateRequest
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	somewhere, _ := url.Parse("https://192.0.2.1")
	for name, c := range map[string]struct {
		signer string
		change func(*spec, *request)
		key    crypto.Signer
		want   string // part of the refusal; "" is none
	}{
		"kubelet":                {signer: kubelet},
		"kubelet, encipherment":  {signer: kubelet, change: func(s *spec, _ *request) { s.Usages = append(s.Usages, certificatesv1.UsageKeyEncipherment) }},
		"kubelet, other group":   {signer: kubelet, change: func(_ *spec, r *request) { r.Subject.Organization = []string{Masters} }, want: "organization"},
		"kubelet, further group": {signer: kubelet, change: func(_ *spec, r *request) { r.Subject.Organization = []string{Nodes, Masters} }, want: "organization"},
		"kubelet, no group":      {signer: kubelet, change: func(_ *spec, r *request) { r.Subject.Organization = nil }, want: "organization"},
		"kubelet, no node":       {signer: kubelet, change: func(_ *spec, r *request) { r.Subject.CommonName = "system:node:" }, want: "common name"},
		"kubelet, a user":        {signer: kubelet, change: func(_ *spec, r *request) { r.Subject.CommonName = "admin" }, want: "common name"},
		"kubelet, a name":        {signer: kubelet, change: func(_ *spec, r *request) { r.DNSNames = []string{"kubernetes"} }, want: "alternative names"},
		"kubelet, an address":    {signer: kubelet, change: func(_ *spec, r *request) { r.IPAddresses = []net.IP{{10, 0, 0, 1}} }, want: "alternative names"},
		"kubelet, to serve":      {signer: kubelet, change: func(s *spec, _ *request) { s.Usages = append(s.Usages, certificatesv1.UsageServerAuth) }, want: "server auth"},
		"kubelet, to sign":       {signer: kubelet, change: func(s *spec, _ *request) { s.Usages = append(s.Usages, certificatesv1.UsageCertSign) }, want: "cert sign"},
		"kubelet, for nothing":   {signer: kubelet, change: func(s *spec, _ *request) { s.Usages = s.Usages[:1] }, want: "lack"},
		"kubelet, short key":     {signer: kubelet, key: short, want: "too short"},
		"kubelet, nonsense":      {signer: kubelet, change: func(s *spec, _ *request) { s.Request = []byte("nonsense") }, want: "no PEM block"},
		"serving":                {signer: serving},
		"serving, name alone":    {signer: serving, change: func(_ *spec, r *request) { r.IPAddresses = nil }},
		"serving, nothing":       {signer: serving, change: func(_ *spec, r *request) { r.IPAddresses, r.DNSNames = nil, nil }, want: "at least one"},
		"serving, as another":    {signer: serving, change: func(_ *spec, r *request) { r.Subject.CommonName = "system:node:n2" }, want: "requester"},
		"serving, by a user":     {signer: serving, change: func(s *spec, _ *request) { s.Groups = nil }, want: "not in the group"},
		"serving, by a token":    {signer: serving, change: func(s *spec, _ *request) { s.Username = "system:bootstrap:abcdef" }, want: "requester"},
		"serving, a URI":         {signer: serving, change: func(_ *spec, r *request) { r.URIs = []*url.URL{somewhere} }, want: "URIs"},
		"serving, an email":      {signer: serving, change: func(_ *spec, r *request) { r.EmailAddresses = []string{"a@example.com"} }, want: "email"},
		"serving, as a client":   {signer: serving, change: func(s *spec, _ *request) { s.Usages[1] = certificatesv1.UsageClientAuth }, want: "client auth"},
		"client":                 {signer: forUsers, change: func(_ *spec, r *request) { r.Subject = pkix.Name{CommonName: "jane", Organization: []string{"devs"}} }},
		"client, a master":       {signer: forUsers, change: func(_ *spec, r *request) { r.Subject.Organization = []string{"devs", Masters} }, want: "not allowed"},
	} {
		k := c.key
		if k == nil {
			k = key
		}
		r, known, err := Signable(ask(t, c.signer, k, c.change))
		if !known {
			t.Errorf("%s: not known", name)
		}
		switch {
		case c.want == "" && (err != nil || r == nil):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, known, err := Signable(ask(t, "example.com/signer", key, nil)); known || err != nil {
		t.Errorf("another's signer: %v, %v", known, err)
	}
}

// TestForgedRequest: whoever asks holds the key.
func TestForgedRequest(t *testing.T) {
	key, _ := newKey()
	spec := ask(t, kubelet, key, nil)
	block, _ := pem.Decode(spec.Request)
	block.Bytes[len(block.Bytes)-1] ^= 1
	spec.Request = pem.EncodeToMemory(block)
	if _, _, err := Signable(spec); err == nil {
		t.Error("a request with a broken signature")
	}
	other, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if _, _, err := Signable(ask(t, kubelet, other, nil)); err != nil {
		t.Errorf("a key on another curve: %v", err)
	}
}

func TestSign(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	clk := clocktesting.NewFakePassiveClock(now)
	p, err := LoadOrCreate("", clk)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := newKey()
	seconds := func(n int32) *int32 { return &n }
	sign := func(life *int32) *x509.Certificate {
		t.Helper()
		spec := ask(t, serving, key, func(s *certificatesv1.CertificateSigningRequestSpec, _ *x509.CertificateRequest) {
			s.ExpirationSeconds = life
		})
		r, _, err := Signable(spec)
		if err != nil {
			t.Fatal(err)
		}
		text, err := p.Sign(spec, r)
		if err != nil {
			t.Fatal(err)
		}
		c, err := decodeCert(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		asked *int32
		want  time.Duration
	}{{nil, leafLife}, {seconds(600), 10 * time.Minute}, {seconds(1 << 30), leafLife}} {
		if got := sign(c.asked).NotAfter.Sub(now); got != c.want {
			t.Errorf("asked for %v: %s", c.asked, got)
		}
	}
	c := sign(nil)
	if c.Subject.CommonName != "system:node:n1" || c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature ||
		len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth || c.DNSNames[0] != "n1" || !c.IPAddresses[0].Equal(net.IPv4(192, 0, 2, 1)) {
		t.Errorf("%+v", c)
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: p.CAPool(), CurrentTime: now}); err != nil {
		t.Error(err)
	}
	clk.SetTime(p.ca.cert.NotAfter.Add(-time.Hour))
	if got := sign(nil).NotAfter; !got.Equal(p.ca.cert.NotAfter) {
		t.Errorf("a certificate outlives its CA: %s", got)
	}
}

// TestKeyPair: what was replaced is there after a restart, and nobody else can
// read it.
func TestKeyPair(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	clk := clocktesting.NewFakePassiveClock(now)
	p, err := LoadOrCreate("", clk)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pair, err := OpenKeyPair(dir, "kubelet-client", clk)
	if err != nil || pair.Certificate() != nil || !pair.Renewal().IsZero() || !pair.Ended().IsZero() {
		t.Fatal(pair, err)
	}
	key, text, err := NodeRequest("n1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := ask(t, kubelet, key, func(s *certificatesv1.CertificateSigningRequestSpec, _ *x509.CertificateRequest) { s.Request = text })
	r, _, err := Signable(spec)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := p.Sign(spec, r)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := newKey()
	if err := pair.Replace(other, signed); err == nil {
		t.Error("a certificate for another key was taken")
	}
	if err := pair.Replace(key, signed); err != nil {
		t.Fatal(err)
	}
	again, err := OpenKeyPair(dir, "kubelet-client", clk)
	if err != nil || again.Certificate() == nil || again.Certificate().Leaf.Subject.CommonName != "system:node:n1" {
		t.Fatal(again, err)
	}
	// A quarter of its life before its end, which began a little before now.
	if got := again.Renewal(); !got.After(now.Add(leafLife*7/10)) || !got.Before(now.Add(leafLife*8/10)) {
		t.Errorf("renewed at %s", got)
	}
	clk.SetTime(now.Add(leafLife + time.Second))
	if again.Certificate() != nil || !again.Ended().Equal(now.Add(leafLife)) {
		t.Errorf("ended: %v", again.Ended())
	}
}
