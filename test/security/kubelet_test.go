package security

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"clipper/internal/auth"
)

// testKubelet: the node's own port answers the API server and administrators.
func testKubelet(t *testing.T, w *world) {
	node, err := w.client.CoreV1().Nodes().Get(t.Context(), w.Node(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	address := ""
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			address = a.Address
		}
	}
	foreign, err := auth.LoadOrCreate("", clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		pki    *auth.PKI // nil without a certificate
		user   string
		groups []string
		code   int // 0: the handshake fails
	}{
		{"without a certificate", nil, "", nil, 0},
		{"with another cluster's", foreign, "kubernetes-admin", []string{auth.Masters}, 0},
		{"as someone", w.pki, "someone", nil, 403},
		{"as a node", w.pki, auth.NodeUser(w.Node()), []string{auth.Nodes}, 403},
		{"as the scheduler", w.pki, auth.Scheduler, nil, 403},
		{"as the API server", w.pki, auth.APIServerToKubelet, nil, 200},
		{"as an administrator", w.pki, "admin", []string{auth.Masters}, 200},
	} {
		config := &tls.Config{RootCAs: w.pki.CAPool(), MinVersion: tls.VersionTLS12}
		if c.pki != nil {
			cert, err := c.pki.ClientCert(c.user, c.groups...)
			if err != nil {
				t.Fatal(err)
			}
			// Whatever authorities the server names.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		tr := &http.Transport{TLSClientConfig: config}
		client := &http.Client{Transport: tr, Timeout: time.Minute}
		for _, path := range []string{"/healthz", "/pods", "/stats/summary", "/metrics"} {
			code := 0
			if resp, err := client.Get(fmt.Sprintf("https://%s:10250%s", address, path)); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				code = resp.StatusCode
			}
			if code != c.code {
				t.Errorf("%s %s: %d, want %d", path, c.name, code, c.code)
			}
		}
		if c.code == 403 {
			resp, err := client.Post(fmt.Sprintf("https://%s:10250/run/default/p/c?cmd=id", address), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 403 {
				t.Errorf("/run %s: %d", c.name, resp.StatusCode)
			}
		}
		tr.CloseIdleConnections()
	}
}
