package certificates

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"

	"clipper/internal/controller"
)

// How long requests stay, by upstream's rule: what is decided for an hour, for
// people to look at, what nobody decides for a day.
const (
	keepDecided = time.Hour
	keepPending = 24 * time.Hour
)

// Cleaner removes requests that have had their time.
type Cleaner struct {
	*controller.Loop[string]
	controller.Config
	requests certificateslisters.CertificateSigningRequestLister
}

// NewCleaner returns the controller that removes requests; Run starts it.
func NewCleaner(c controller.Config) *Cleaner {
	requests := c.Informers.Certificates().V1().CertificateSigningRequests()
	w := &Cleaner{Config: c, requests: requests.Lister()}
	w.Loop = controller.NewLoop("certificatesigningrequest-cleaner-controller", c, 1, w.sync)
	w.Watch(requests.Informer(), controller.On(func(_, now *certificatesv1.CertificateSigningRequest) {
		if now != nil {
			w.AddAfter(now.Name, ends(now).Sub(c.Clock.Now()))
		}
	}))
	return w
}

// ends is when a request has had its time.
func ends(r *certificatesv1.CertificateSigningRequest) time.Time {
	end := r.CreationTimestamp.Add(keepPending)
	sooner := func(t time.Time) {
		if t.Before(end) {
			end = t
		}
	}
	for i := range r.Status.Conditions {
		// A condition that somebody wrote without a time tells nothing.
		if at := r.Status.Conditions[i].LastUpdateTime; !at.IsZero() {
			sooner(at.Add(keepDecided))
		}
	}
	if block, _ := pem.Decode(r.Status.Certificate); block != nil {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			sooner(cert.NotAfter)
		}
	}
	return end
}

func (w *Cleaner) sync(ctx context.Context, name string) error {
	r, err := w.requests.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if left := ends(r).Sub(w.Clock.Now()); left > 0 {
		w.AddAfter(name, left)
		return nil
	}
	return controller.GoneOrChanged(w.Client.CertificatesV1().CertificateSigningRequests().Delete(ctx, name, *metav1.NewPreconditionDeleteOptions(string(r.UID))))
}
