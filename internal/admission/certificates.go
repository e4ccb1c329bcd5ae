package admission

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Permit tells whether a user may do something with a resource of the group
// certificates.k8s.io that is in no store; it answers as the authoriser does.
type Permit func(ctx context.Context, u user.Info, verb, resource, name string) (bool, error)

// signer tells whether the user may act as the verb says for a signer, by its
// name or by all of its domain (example.com/*). Without a Permit nobody may.
func (may Permit) signer(ctx context.Context, a *Attributes, verb, name string) error {
	names := []string{name}
	if domain, _, ok := strings.Cut(name, "/"); ok {
		names = append(names, domain+"/*")
	}
	for _, n := range names {
		if may == nil || a.User == nil {
			break
		}
		ok, err := may(ctx, a.User, verb, "signers", n)
		if err != nil {
			return apierrors.NewInternalError(err)
		}
		if ok {
			return nil
		}
	}
	return forbidden(a, "user not permitted to %s requests with signerName %q", verb, name)
}

// requests returns a signing request before and after a write through one of
// its subresources, and false if the write is another.
func requests(a *Attributes, subresource string) (request, old *certificatesv1.CertificateSigningRequest, ok bool) {
	if a.Subresource != subresource || a.Operation != Update || a.Resource.GroupResource() != signingRequests {
		return nil, nil, false
	}
	request, ok = a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return nil, nil, false
	}
	old, ok = a.Old.(*certificatesv1.CertificateSigningRequest)
	return request, old, ok
}

// CertificateApproval lets only those approve or deny a signing request who may
// approve for its signer.
type CertificateApproval struct{ may Permit }

// Name implements Plugin.
func (*CertificateApproval) Name() string { return "CertificateApproval" }

// Validate implements Validator.
func (p *CertificateApproval) Validate(ctx context.Context, a *Attributes) error {
	_, old, ok := requests(a, "approval")
	if !ok {
		return nil
	}
	return p.may.signer(ctx, a, "approve", old.Spec.SignerName)
}

// CertificateSigning lets only those issue a certificate, or say why not, who
// may sign for the request's signer.
type CertificateSigning struct{ may Permit }

// Name implements Plugin.
func (*CertificateSigning) Name() string { return "CertificateSigning" }

// Validate implements Validator.
func (p *CertificateSigning) Validate(ctx context.Context, a *Attributes) error {
	request, old, ok := requests(a, "status")
	if !ok || string(request.Status.Certificate) == string(old.Status.Certificate) &&
		equality.Semantic.DeepEqual(request.Status.Conditions, old.Status.Conditions) {
		return nil
	}
	return p.may.signer(ctx, a, "sign", old.Spec.SignerName)
}

// CertificateSubjectRestriction keeps requests out that would make their owner
// master of the cluster, whoever approved them.
type CertificateSubjectRestriction struct{}

// Name implements Plugin.
func (CertificateSubjectRestriction) Name() string { return "CertificateSubjectRestriction" }

// Validate implements Validator. A request that cannot be read is refused
// before.
func (CertificateSubjectRestriction) Validate(_ context.Context, a *Attributes) error {
	if a.Operation != Create || a.Subresource != "" || a.Resource.GroupResource() != signingRequests {
		return nil
	}
	request, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok || request.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return nil
	}
	block, _ := pem.Decode(request.Spec.Request)
	if block == nil {
		return forbidden(a, "the request is no PEM block")
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return forbidden(a, "unable to parse the request: %w", err)
	}
	if slices.Contains(asked.Subject.Organization, user.SystemPrivilegedGroup) {
		return forbidden(a, "use of %s signer with %s group is not allowed", request.Spec.SignerName, user.SystemPrivilegedGroup)
	}
	return nil
}
