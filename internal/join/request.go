package join

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"clipper/internal/auth"
	"clipper/internal/client"
)

// request asks for a certificate and waits until it is signed.
func (j *Credentials) request(ctx context.Context, as *rest.Config, pair *auth.KeyPair, k kind) error {
	c, err := kubernetes.NewForConfig(as)
	if err != nil {
		return final{err}
	}
	var names []string
	var ips []netip.Addr
	if k.serving {
		names, ips = []string{j.Node}, j.Addresses
	}
	key, text, err := auth.NodeRequest(j.Node, names, ips)
	if err != nil {
		return final{err}
	}
	requests := c.CertificatesV1().CertificateSigningRequests()
	made, err := requests.Create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "node-csr-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: text, SignerName: k.signer,
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, k.usage},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return j.explain(err)
	}
	var certificate []byte
	err = client.Await(ctx, made.Name,
		func(o metav1.ListOptions) (runtime.Object, error) { return requests.List(ctx, o) }, requests.Watch,
		func(o runtime.Object) (bool, error) {
			r, ok := o.(*certificatesv1.CertificateSigningRequest)
			if !ok || r.UID != made.UID {
				return false, nil
			}
			for _, cond := range r.Status.Conditions {
				if cond.Type == certificatesv1.CertificateDenied || cond.Type == certificatesv1.CertificateFailed {
					return false, final{fmt.Errorf("the cluster refuses node %s a certificate: %s", j.Node, cond.Message)}
				}
			}
			certificate = r.Status.Certificate
			return len(certificate) > 0, nil
		})
	if err != nil {
		return j.explain(err)
	}
	if err := pair.Replace(key, certificate); err != nil {
		return final{err}
	}
	return nil
}

// Retry repeats f, later each time, while the server does not answer, and
// returns nil or what it refuses.
func (j *Credentials) Retry(ctx context.Context, f func() error) error {
	return j.retry(ctx, func() error { return j.explain(f()) })
}

// explain says what to do about an answer that stays the same.
func (j *Credentials) explain(err error) error {
	if err == nil {
		return nil
	}
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	switch {
	case apierrors.IsUnauthorized(err):
		if j.client.Certificate() != nil {
			return final{fmt.Errorf("%s does not accept this machine's certificate any more; remove what it joined with (%s) and give it a token", j.Server, j.Dir)}
		}
		return final{fmt.Errorf("%s does not know the token, or it has expired; `clipper token create` makes a new one", j.Server)}
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsNotFound(err):
		return final{err}
	case errors.As(err, &unknown):
		return final{fmt.Errorf("%s is not the server of the cluster that this machine joined: its certificate is of another CA", j.Server)}
	case errors.As(err, &invalid):
		return final{fmt.Errorf("the certificate of %s: %w; check both machines' clocks", j.Server, err)}
	case errors.As(err, &host):
		return final{fmt.Errorf("%w; give the server the name with --tls-san, or use one that it has", err)}
	}
	return err
}

// retry repeats what fails because the server does not answer, later each time.
func (j *Credentials) retry(ctx context.Context, f func() error) error {
	const first, most, tell = 20 * time.Millisecond, 5 * time.Second, 200 * time.Millisecond
	for delay := first; ; delay = min(2*delay, most) {
		err := f()
		if err == nil || isFinal(err) {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		// A server that starts beside the node takes a moment.
		if delay >= tell {
			j.Logger.Warn("the server is not reached yet, will try again", "server", j.Server, "in", delay, "err", err)
			if j.Say != nil {
				j.said.Do(func() { j.Say(fmt.Sprintf("waiting for the server %s: %v", j.Server, err)) })
			}
		}
		t := j.Clock.NewTimer(delay)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}
