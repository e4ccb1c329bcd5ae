package certificates

import (
	"context"
	"crypto/x509"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"

	"clipper/internal/auth"
	"clipper/internal/controller"
)

// Authority signs what auth.Signable returned.
type Authority interface {
	Sign(*certificatesv1.CertificateSigningRequestSpec, *x509.CertificateRequest) ([]byte, error)
}

// Signer signs approved requests.
type Signer struct {
	*controller.Loop[string]
	controller.Config
	authority Authority
	requests  certificateslisters.CertificateSigningRequestLister
}

// NewSigner returns the controller that signs; Run starts it.
func NewSigner(c controller.Config, authority Authority) *Signer {
	requests := c.Informers.Certificates().V1().CertificateSigningRequests()
	s := &Signer{Config: c, authority: authority, requests: requests.Lister()}
	s.Loop = controller.NewLoop("certificatesigningrequest-signing-controller", c, 4, s.sync)
	s.Watch(requests.Informer(), controller.On(func(_, now *certificatesv1.CertificateSigningRequest) {
		if now != nil && signable(now) {
			s.Add(now.Name)
		}
	}))
	return s
}

func signable(r *certificatesv1.CertificateSigningRequest) bool {
	return len(r.Status.Certificate) == 0 && condition(r, certificatesv1.CertificateApproved) != nil &&
		condition(r, certificatesv1.CertificateDenied) == nil && condition(r, certificatesv1.CertificateFailed) == nil
}

func (s *Signer) sync(ctx context.Context, name string) error {
	r, err := s.requests.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !signable(r) {
		return err
	}
	wanted, known, err := auth.Signable(&r.Spec)
	if !known {
		return nil // another signer's
	}
	if err != nil {
		return writeStatus(ctx, s.Config, with(s.Config, r, certificatesv1.CertificateFailed, "SignerValidationFailure", err.Error()))
	}
	certificate, err := s.authority.Sign(&r.Spec, wanted)
	if err != nil {
		return err
	}
	r = r.DeepCopy()
	r.Status.Certificate = certificate
	return writeStatus(ctx, s.Config, r)
}
