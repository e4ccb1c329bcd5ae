package table

import (
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

var certificateSigningRequest = show(
	columns(name, age,
		text("SignerName", "Who is asked to sign."),
		text("Requestor", "Who asks."),
		text("RequestedDuration", "How long the certificate is to be valid."),
		text("Condition", "Whether it was approved and issued.")),
	func(now time.Time, r *certificatesv1.CertificateSigningRequest) []any {
		life := none
		if s := r.Spec.ExpirationSeconds; s != nil {
			life = duration.HumanDuration(time.Duration(*s) * time.Second)
		}
		return []any{r.Name, since(now, r.CreationTimestamp), or(r.Spec.SignerName, none), r.Spec.Username, life, csrCondition(r)}
	},
)

func csrCondition(r *certificatesv1.CertificateSigningRequest) string {
	var approved, denied, failed bool
	for _, c := range r.Status.Conditions {
		switch c.Type {
		case certificatesv1.CertificateApproved:
			approved = true
		case certificatesv1.CertificateDenied:
			denied = true
		case certificatesv1.CertificateFailed:
			failed = true
		}
	}
	status := "Pending"
	switch {
	case denied:
		status = "Denied"
	case approved:
		status = "Approved"
	}
	if failed {
		status += ",Failed"
	}
	if len(r.Status.Certificate) > 0 {
		status += ",Issued"
	}
	return status
}
