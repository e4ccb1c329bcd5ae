// Package certificates answers CertificateSigningRequests: it approves what
// nodes ask for themselves, signs what is approved, and removes requests that
// nobody needs any more. What a signer certifies at all is auth's to say.
package certificates

import (
	"context"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clipper/internal/controller"
)

func condition(r *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequestCondition {
	i := slices.IndexFunc(r.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &r.Status.Conditions[i]
}

func pending(r *certificatesv1.CertificateSigningRequest) bool {
	return condition(r, certificatesv1.CertificateApproved) == nil && condition(r, certificatesv1.CertificateDenied) == nil
}

// with returns a copy of the request with one more condition.
func with(c controller.Config, r *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType, reason, message string) *certificatesv1.CertificateSigningRequest {
	r = r.DeepCopy()
	now := metav1.NewTime(c.Clock.Now())
	r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now,
	})
	return r
}

func writeStatus(ctx context.Context, c controller.Config, r *certificatesv1.CertificateSigningRequest) error {
	_, err := c.Client.CertificatesV1().CertificateSigningRequests().UpdateStatus(ctx, r, metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}
