package validate

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var signingRequestRules = &rules{ // never changed
	name:   path.ValidatePathSegmentName,
	create: rule(signingRequest),
	update: change(signingRequestUpdate),
	subresources: subresources{
		"approval": change(signingRequestUpdate),
		"status":   change(signingRequestStatus),
	},
}

// shortestCertificate is the least time, in seconds, a certificate is asked for.
const shortestCertificate = 600

func signingRequest(e *problems, r *certificatesv1.CertificateSigningRequest) {
	s := &r.Spec
	if err := certificateRequest(s.Request); err != "" {
		e.invalid(specPath.Child("request"), s.Request, err)
	}
	usages := specPath.Child("usages")
	if len(s.Usages) == 0 {
		e.required(usages, "")
	}
	for i, u := range s.Usages {
		if !slices.Contains(keyUsages, u) {
			e.add(field.NotSupported(usages.Index(i), u, keyUsages))
		}
		if slices.Contains(s.Usages[:i], u) {
			e.add(field.Duplicate(usages.Index(i), u))
		}
	}
	if s.SignerName == "kubernetes.io/legacy-unknown" {
		e.invalid(specPath.Child("signerName"), s.SignerName, "the legacy signerName is not allowed via this API version")
	} else if e.given(specPath, "signerName", s.SignerName) {
		signerName(e, s.SignerName, specPath.Child("signerName"))
	}
	if n := s.ExpirationSeconds; n != nil && *n < shortestCertificate {
		e.invalid(specPath.Child("expirationSeconds"), *n, "may not specify a duration less than 600 seconds (10 minutes)")
	}
	signingConditions(e, r.Status.Conditions)
}

// keyUsages are what a certificate may be used for, sorted.
var keyUsages = []certificatesv1.KeyUsage{ // never changed
	certificatesv1.UsageAny, certificatesv1.UsageCertSign, certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning,
	certificatesv1.UsageContentCommitment, certificatesv1.UsageCRLSign, certificatesv1.UsageDataEncipherment,
	certificatesv1.UsageDecipherOnly, certificatesv1.UsageDigitalSignature, certificatesv1.UsageEmailProtection,
	certificatesv1.UsageEncipherOnly, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
	certificatesv1.UsageIPsecUser, certificatesv1.UsageKeyAgreement, certificatesv1.UsageKeyEncipherment,
	certificatesv1.UsageMicrosoftSGC, certificatesv1.UsageNetscapeSGC, certificatesv1.UsageOCSPSigning,
	certificatesv1.UsageSMIME, certificatesv1.UsageServerAuth, certificatesv1.UsageSigning, certificatesv1.UsageTimestamping,
}

// certificateRequest returns what is wrong with a request in PEM, or "".
func certificateRequest(text []byte) string {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return "PEM block type must be CERTIFICATE REQUEST"
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = req.CheckSignature()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func signerName(e *problems, name string, at *field.Path) {
	domain, rest, ok := strings.Cut(name, "/")
	if !ok || rest == "" || strings.Contains(rest, "/") {
		e.invalid(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
		return
	}
	e.texts(at, domain, validation.IsDNS1123Subdomain(domain))
	if len(strings.Split(domain, ".")) < 2 {
		e.invalid(at, domain, "should be a domain with at least two segments separated by dots")
	}
	for _, part := range strings.Split(rest, ".") {
		for _, text := range validation.IsDNS1123Subdomain(part) {
			e.invalid(at, rest, fmt.Sprintf("validating label %q: %s", part, text))
		}
	}
}

func signingConditions(e *problems, list []certificatesv1.CertificateSigningRequestCondition) {
	at := statusPath.Child("conditions")
	var approved, denied bool
	for i, c := range list {
		at := at.Index(i)
		e.given(at, "type", string(c.Type))
		approved = approved || c.Type == certificatesv1.CertificateApproved
		denied = denied || c.Type == certificatesv1.CertificateDenied
		switch c.Type {
		case certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
			if c.Status == "" {
				e.required(at.Child("status"), "")
			} else if c.Status != corev1.ConditionTrue {
				e.add(field.NotSupported(at.Child("status"), c.Status, []corev1.ConditionStatus{corev1.ConditionTrue}))
			}
		default:
			givenOneOf(e, at, "status", c.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)
		}
		if slices.ContainsFunc(list[:i], func(o certificatesv1.CertificateSigningRequestCondition) bool { return o.Type == c.Type }) {
			e.add(field.Duplicate(at.Child("type"), c.Type))
		}
	}
	if approved && denied {
		e.invalid(at, certificatesv1.CertificateDenied, "Approved and Denied conditions are mutually exclusive")
	}
}

// signingRequestStatus judges the signer's answer, who does not approve.
func signingRequestStatus(e *problems, r, old *certificatesv1.CertificateSigningRequest) {
	signingRequestUpdate(e, r, old)
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		is := func(c certificatesv1.CertificateSigningRequestCondition) bool { return c.Type == t }
		if slices.ContainsFunc(r.Status.Conditions, is) && !slices.ContainsFunc(old.Status.Conditions, is) {
			e.forbidden(statusPath.Child("conditions"), "updates may not add a condition of type \""+string(t)+"\"")
		}
	}
}

// signingRequestUpdate judges answers: what was once approved, denied or
// issued stays so.
func signingRequestUpdate(e *problems, r, old *certificatesv1.CertificateSigningRequest) {
	signingConditions(e, r.Status.Conditions)
	at := statusPath.Child("conditions")
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed} {
		is := func(c certificatesv1.CertificateSigningRequestCondition) bool { return c.Type == t }
		if slices.ContainsFunc(old.Status.Conditions, is) && !slices.ContainsFunc(r.Status.Conditions, is) {
			e.forbidden(at, "updates may not remove a condition of type \""+string(t)+"\"")
		}
	}
	e.immutable(nil, "spec", field.OmitValueType{}, sameSpec(&r.Spec, &old.Spec))
	if len(old.Status.Certificate) > 0 {
		e.immutable(statusPath, "certificate", field.OmitValueType{}, string(r.Status.Certificate) == string(old.Status.Certificate))
	} else if len(r.Status.Certificate) > 0 {
		if block, _ := pem.Decode(r.Status.Certificate); block == nil || block.Type != "CERTIFICATE" {
			e.invalid(statusPath.Child("certificate"), "<certificate data>", "must contain at least one CERTIFICATE PEM block")
		} else if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			e.invalid(statusPath.Child("certificate"), "<certificate data>", err.Error())
		}
	}
}
