package certificates

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"

	"clipper/internal/auth"
	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

// world has nodes n1, which is Ready, and n2, which is not, and lets
// bootstrappers and nodes have certificates approved.
func world(t *testing.T, f func(ctx context.Context, api *controllertest.API)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		defer func() { cancel(); done.Wait() }()
		api := controllertest.NewAPI()
		api.PrependReactor("create", "subjectaccessreviews", func(act clienttesting.Action) (bool, runtime.Object, error) {
			r := act.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
			a := r.Spec.ResourceAttributes
			r.Status.Allowed = a.Resource == "certificatesigningrequests" && a.Verb == "create" &&
				(a.Subresource == "nodeclient" && strings.HasPrefix(r.Spec.User, "system:bootstrap:") ||
					a.Subresource == "selfnodeclient" && strings.HasPrefix(r.Spec.User, "system:node:"))
			return true, r, nil
		})
		for name, ready := range map[string]corev1.ConditionStatus{"n1": corev1.ConditionTrue, "n2": corev1.ConditionUnknown} {
			if err := api.Tracker().Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}},
				Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1" + name[1:]}},
			}}); err != nil {
				t.Fatal(err)
			}
		}
		factory := informers.NewSharedInformerFactory(api, 0)
		defer factory.Shutdown()
		defer cancel()
		c := controller.Config{Client: api, Informers: factory, Clock: clock.RealClock{}, Logger: slog.New(slog.DiscardHandler)}
		pki, err := auth.LoadOrCreate("", clock.RealClock{})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []controller.Controller{
			NewApprover(c, Reserved{Names: []string{"kubernetes", "192.0.2.1"}, Node: "server", Networks: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}}),
			NewSigner(c, pki), NewCleaner(c),
		} {
			done.Go(func() {
				if err := part.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		factory.StartWithContext(ctx)
		f(ctx, api)
	})
}

// request is a signing request: by whom, for what.
func request(t *testing.T, name, user, signer string, r *x509.CertificateRequest) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	if err != nil {
		t.Fatal(err)
	}
	usage, groups := certificatesv1.UsageClientAuth, []string{auth.Bootstrappers}
	if signer == certificatesv1.KubeletServingSignerName {
		usage = certificatesv1.UsageServerAuth
	}
	if strings.HasPrefix(user, "system:node:") {
		groups = []string{auth.Nodes}
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Username: user, Groups: groups, SignerName: signer,
			Usages:  []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, usage},
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		},
	}
}

func of(node string, names []string, ips ...string) *x509.CertificateRequest {
	r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + node, Organization: []string{auth.Nodes}}, DNSNames: names}
	for _, ip := range ips {
		r.IPAddresses = append(r.IPAddresses, net.ParseIP(ip))
	}
	return r
}

func TestAnswers(t *testing.T) {
	const client, serving, other = certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeletServingSignerName, certificatesv1.KubeAPIServerClientSignerName
	const token = "system:bootstrap:abcdef"
	for name, c := range map[string]struct {
		user, signer string
		request      *x509.CertificateRequest
		// want is part of a refusal, "waits", or "signed".
		want string
	}{
		"a new node":                  {token, client, of("new", nil), "signed"},
		"a node that is lost":         {token, client, of("n2", nil), "signed"},
		"a node that lives":           {token, client, of("n1", nil), "name is taken"},
		"a node renews":               {"system:node:n1", client, of("n1", nil), "signed"},
		"a node as another":           {"system:node:n1", client, of("n2", nil), "waits"},
		"a pod's account":             {"system:serviceaccount:default:default", client, of("new", nil), "waits"},
		"no node's subject":           {token, client, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x", Organization: []string{"system:masters"}}}, "organization"},
		"serving":                     {"system:node:n1", serving, of("n1", []string{"n1"}, "192.0.2.11"), "signed"},
		"serving for a new node":      {"system:node:new", serving, of("new", []string{"new"}, "192.0.2.99"), "signed"},
		"serving under another name":  {"system:node:n1", serving, of("n1", []string{"n2"}, "192.0.2.11"), "not the name of node"},
		"serving as the server":       {"system:node:kubernetes", serving, of("kubernetes", []string{"kubernetes"}), "name of the API server"},
		"serving at the server":       {"system:node:n1", serving, of("n1", []string{"n1"}, "192.0.2.1"), "address of the API server"},
		"the server's node":           {"system:node:server", serving, of("server", []string{"server"}, "192.0.2.1"), "signed"},
		"serving at another node":     {"system:node:n1", serving, of("n1", []string{"n1"}, "192.0.2.12"), "address of node n2"},
		"serving at a pod's":          {"system:node:n1", serving, of("n1", []string{"n1"}, "10.42.3.4"), "cluster's network"},
		"serving at the loopback":     {"system:node:n1", serving, of("n1", []string{"n1"}, "127.0.0.1"), "no address by which"},
		"serving at every address":    {"system:node:n1", serving, of("n1", []string{"n1"}, "0.0.0.0"), "no address by which"},
		"serving for another":         {"system:node:n1", serving, of("n2", []string{"n2"}), "requester"},
		"serving by a token":          {token, serving, of("new", []string{"new"}), "requester"},
		"a client like any other":     {token, other, of("new", nil), "waits"},
		"a signer that is not ours":   {token, "example.com/signer", of("new", nil), "waits"},
		"serving, a mapped address":   {"system:node:n1", serving, of("n1", nil, "::ffff:10.42.0.1"), "cluster's network"},
		"serving, several, one wrong": {"system:node:n1", serving, of("n1", []string{"n1", "kubernetes"}, "192.0.2.11"), "not the name of node"},
	} {
		t.Run(name, func(t *testing.T) {
			world(t, func(ctx context.Context, api *controllertest.API) {
				requests := api.CertificatesV1().CertificateSigningRequests()
				if _, err := requests.Create(ctx, request(t, "r", c.user, c.signer, c.request), metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				r, err := requests.Get(ctx, "r", metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				got := "waits"
				for _, cond := range r.Status.Conditions {
					if got = "approved"; cond.Type != certificatesv1.CertificateApproved {
						got = cond.Message
					}
				}
				if len(r.Status.Certificate) > 0 {
					got = "signed"
				}
				if !strings.Contains(got, c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestByHand: what a person approved is signed if the signer's rules allow it,
// and fails with the reason if not; what is denied is not signed.
func TestByHand(t *testing.T) {
	const signer = certificatesv1.KubeAPIServerClientSignerName
	world(t, func(ctx context.Context, api *controllertest.API) {
		requests := api.CertificatesV1().CertificateSigningRequests()
		for name, organization := range map[string]string{"good": "devs", "bad": "system:masters", "denied": "devs"} {
			r := request(t, name, "jane", signer, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: []string{organization}}})
			r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, LastUpdateTime: metav1.Now()}}
			if name == "denied" {
				r.Status.Conditions[0].Type = certificatesv1.CertificateDenied
			}
			if _, err := requests.Create(ctx, r, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for name, want := range map[string]struct {
			signed bool
			last   certificatesv1.RequestConditionType
		}{"good": {true, certificatesv1.CertificateApproved}, "bad": {false, certificatesv1.CertificateFailed}, "denied": {false, certificatesv1.CertificateDenied}} {
			r, err := requests.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if conditions := r.Status.Conditions; (len(r.Status.Certificate) > 0) != want.signed || conditions[len(conditions)-1].Type != want.last {
				t.Errorf("%s: %v, signed: %v", name, conditions, len(r.Status.Certificate) > 0)
			}
		}
	})
}

// TestClean: what is decided goes after an hour, what waits after a day.
func TestClean(t *testing.T) {
	world(t, func(ctx context.Context, api *controllertest.API) {
		requests := api.CertificatesV1().CertificateSigningRequests()
		for name, signer := range map[string]string{"waits": "example.com/signer", "signed": certificatesv1.KubeAPIServerClientKubeletSignerName} {
			if _, err := requests.Create(ctx, request(t, name, "system:bootstrap:abcdef", signer, of("new", nil)), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		timeless := request(t, "timeless", "jane", certificatesv1.KubeAPIServerClientSignerName, of("new", nil))
		timeless.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Status: corev1.ConditionTrue}}
		if _, err := requests.Create(ctx, timeless, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			pass time.Duration
			left int
		}{{59 * time.Minute, 3}, {2 * time.Minute, 2}, {22 * time.Hour, 2}, {time.Hour, 0}} {
			<-time.After(step.pass)
			synctest.Wait()
			all, err := requests.List(ctx, metav1.ListOptions{})
			if err != nil || len(all.Items) != step.left {
				t.Errorf("after %s more: %d left, %v", step.pass, len(all.Items), err)
			}
		}
	})
}
