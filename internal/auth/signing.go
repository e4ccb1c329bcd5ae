package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
)

// Signable returns what a request asks a signer of this cluster to certify, or
// why that signer never signs it. known is false if the signer is somebody
// else's. The rules are those that the documentation of
// CertificateSigningRequests gives for Kubernetes's signers.
func Signable(spec *certificatesv1.CertificateSigningRequestSpec) (request *x509.CertificateRequest, known bool, err error) {
	rule, known := signers[spec.SignerName]
	if !known {
		return nil, false, nil
	}
	request, err = parseRequest(spec.Request)
	if err == nil {
		err = checkUsages(spec.Usages, rule.usages)
	}
	if err == nil {
		err = rule.subject(spec, request)
	}
	return request, true, err
}

// signer is what a signer certifies. digital signature and key encipherment
// may be asked for in any case; key encipherment need not.
type signer struct {
	usages  certificatesv1.KeyUsage
	subject func(*certificatesv1.CertificateSigningRequestSpec, *x509.CertificateRequest) error
}

var signers = map[string]signer{ // never changed
	certificatesv1.KubeAPIServerClientKubeletSignerName: {certificatesv1.UsageClientAuth, kubeletClient},
	certificatesv1.KubeletServingSignerName:             {certificatesv1.UsageServerAuth, kubeletServing},
	certificatesv1.KubeAPIServerClientSignerName:        {certificatesv1.UsageClientAuth, anyClient},
}

func parseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("the request is no PEM block CERTIFICATE REQUEST")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request is not signed by its own key: %w", err)
	}
	switch k := r.PublicKey.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
	case *rsa.PublicKey:
		const least = 2048
		if k.N.BitLen() < least {
			return nil, fmt.Errorf("an RSA key of %d bits is too short; %d are the least", k.N.BitLen(), least)
		}
	default:
		return nil, fmt.Errorf("a key of type %T cannot be certified", k)
	}
	return r, nil
}

func checkUsages(asked []certificatesv1.KeyUsage, purpose certificatesv1.KeyUsage) error {
	allowed := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, purpose}
	for _, u := range asked {
		if !slices.Contains(allowed, u) {
			return fmt.Errorf("the signer certifies no key for %q, only for %q", u, allowed)
		}
	}
	if !slices.Contains(asked, purpose) {
		return fmt.Errorf("usages lack %q", purpose)
	}
	return nil
}

// nodeSubject: the certificate's owner is a node and nothing else.
func nodeSubject(r *x509.CertificateRequest) error {
	if !slices.Equal(r.Subject.Organization, []string{Nodes}) {
		return fmt.Errorf("organization is %q, and has to be %q alone", r.Subject.Organization, Nodes)
	}
	if node, ok := strings.CutPrefix(r.Subject.CommonName, nodePrefix); !ok || node == "" {
		return fmt.Errorf("common name is %q, and has to begin with %q", r.Subject.CommonName, nodePrefix)
	}
	return nil
}

func kubeletClient(_ *certificatesv1.CertificateSigningRequestSpec, r *x509.CertificateRequest) error {
	if len(r.DNSNames)+len(r.IPAddresses)+len(r.EmailAddresses)+len(r.URIs) > 0 {
		return errors.New("subject alternative names are not allowed in a node's client certificate")
	}
	return nodeSubject(r)
}

func kubeletServing(spec *certificatesv1.CertificateSigningRequestSpec, r *x509.CertificateRequest) error {
	switch {
	case len(r.EmailAddresses)+len(r.URIs) > 0:
		return errors.New("email addresses and URIs are not allowed in a node's serving certificate")
	case len(r.DNSNames)+len(r.IPAddresses) == 0:
		return errors.New("a node's serving certificate needs at least one name or address")
	case r.Subject.CommonName != spec.Username:
		return fmt.Errorf("common name is %q, and has to be that of the requester, %q", r.Subject.CommonName, spec.Username)
	case !slices.Contains(spec.Groups, Nodes):
		return fmt.Errorf("the requester is not in the group %q", Nodes)
	}
	return nodeSubject(r)
}

// anyClient: whoever approves decides whom the certificate names, but nobody
// becomes master of the cluster that way.
func anyClient(_ *certificatesv1.CertificateSigningRequestSpec, r *x509.CertificateRequest) error {
	if slices.Contains(r.Subject.Organization, Masters) {
		return fmt.Errorf("use of %s with group %q is not allowed", certificatesv1.KubeAPIServerClientSignerName, Masters)
	}
	return nil
}

// Sign signs what Signable returned, for the time that the request asks for, a
// year if it does not, and never longer than the CA lives. It returns PEM.
func (p *PKI) Sign(spec *certificatesv1.CertificateSigningRequestSpec, r *x509.CertificateRequest) ([]byte, error) {
	n, err := serial()
	if err != nil {
		return nil, err
	}
	life := leafLife
	if s := spec.ExpirationSeconds; s != nil {
		life = min(time.Duration(*s)*time.Second, leafLife)
	}
	now := p.clock.Now()
	t := &x509.Certificate{
		SerialNumber: n, Subject: r.Subject,
		NotBefore: now.Add(-skew), NotAfter: now.Add(life),
		DNSNames: r.DNSNames, IPAddresses: r.IPAddresses, EmailAddresses: r.EmailAddresses, URIs: r.URIs,
		BasicConstraintsValid: true,
	}
	if t.NotAfter.After(p.ca.cert.NotAfter) {
		t.NotAfter = p.ca.cert.NotAfter
	}
	for _, u := range spec.Usages {
		switch u {
		case certificatesv1.UsageDigitalSignature:
			t.KeyUsage |= x509.KeyUsageDigitalSignature
		case certificatesv1.UsageKeyEncipherment:
			t.KeyUsage |= x509.KeyUsageKeyEncipherment
		case certificatesv1.UsageClientAuth:
			t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		case certificatesv1.UsageServerAuth:
			t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		default:
			return nil, fmt.Errorf("no certificate for %q", u)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, p.ca.cert, r.PublicKey, p.ca.key)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", r.Subject.CommonName, err)
	}
	return encodeCert(der), nil
}
