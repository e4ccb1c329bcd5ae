package auth

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/http/httptest"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

// Whoever shows no credential that is good is nobody, whatever he shows.
func FuzzAuthenticate(f *testing.F) {
	d := newDoor(f)
	token := d.tokens.sign(f, Binding{}, nil, time.Hour)
	f.Add("Bearer x", "", "", "", "")
	f.Add("bearer  a.b.c", "base64url.bearer.authorization.k8s.io.YQ, v5.channel.k8s.io", "jane", "system:masters", "example.com/a%3")
	f.Add("Basic YTpi", "", "system:serviceaccount:a:b", "", "x")
	f.Add("Bearer abcdef.0123456789abcdef", "", "", "", "")
	f.Add("Bearer "+token[:len(token)-1], "", "system:node:n", "system:nodes", "")
	f.Fuzz(func(t *testing.T, authorization, protocols, as, group, extra string) {
		r := httptest.NewRequest("GET", "/api/v1/pods", nil)
		r.Header.Set("Authorization", authorization)
		if protocols != "" {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Sec-WebSocket-Protocol", protocols)
		}
		if as != "" {
			r.Header.Set("Impersonate-User", as)
			r.Header.Set("Impersonate-Group", group)
			r.Header["Impersonate-Extra-"+extra] = []string{group}
		}
		if u, err := d.Authenticate(r); err == nil {
			t.Errorf("%q is taken for %v", r.Header, u)
		}
	})
}

// Documents that others write are read or refused.
func FuzzDocuments(f *testing.F) {
	pki, _ := newPKI(f, "", birth)
	key, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	encoded, err := encodeKey(key)
	if err != nil {
		f.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "system:node:n", Organization: []string{"system:nodes"}},
	}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pki.CABundle())
	f.Add(encoded)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	f.Add([]byte("abcdef.0123456789abcdef"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeCert(b)
		_, _ = decodeKey(b)
		_, _ = CAHash(b)
		for _, signer := range []string{
			certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeletServingSignerName, certificatesv1.KubeAPIServerClientSignerName,
		} {
			_, _, _ = Signable(&certificatesv1.CertificateSigningRequestSpec{
				SignerName: signer, Request: b, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature},
			})
		}
		_, _ = ReadBootstrapSecret(&corev1.Secret{Data: map[string][]byte{
			"token-id": b, "token-secret": b, "expiration": b, "auth-extra-groups": b, "usage-bootstrap-authentication": []byte("true"),
		}})
		if tok, err := ParseBootstrapToken(string(b)); err == nil && tok.String() != string(b) {
			t.Errorf("%q became %q", b, tok)
		}
		if j, err := ParseJoinToken(string(b)); err == nil {
			if again, err := ParseJoinToken(j.String()); err != nil || again != j {
				t.Errorf("%q became %q: %v", b, j, err)
			}
		}
	})
}
