package certificates

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"clipper/internal/auth"
	"clipper/internal/controller"
)

// Reserved is what no node's serving certificate may hold: with it, the node
// could be taken for the API server, or for a Service or pod.
type Reserved struct {
	// Names and addresses of the API server. The node Node, in the same
	// process, has them too.
	Names []string
	Node  string
	// Networks are those of pods and Services.
	Networks []netip.Prefix
}

// Approver approves what nodes ask for themselves, and denies what they ask
// for as others. All else waits for a person.
type Approver struct {
	*controller.Loop[string]
	controller.Config
	reserved Reserved
	requests certificateslisters.CertificateSigningRequestLister
	nodes    corelisters.NodeLister
}

// NewApprover returns the controller that approves; Run starts it.
func NewApprover(c controller.Config, reserved Reserved) *Approver {
	requests, nodes := c.Informers.Certificates().V1().CertificateSigningRequests(), c.Informers.Core().V1().Nodes()
	a := &Approver{Config: c, reserved: reserved, requests: requests.Lister(), nodes: nodes.Lister()}
	a.Loop = controller.NewLoop("certificatesigningrequest-approving-controller", c, 4, a.sync)
	a.Need(nodes.Informer())
	a.Watch(requests.Informer(), controller.On(func(_, now *certificatesv1.CertificateSigningRequest) {
		if now != nil && pending(now) && ours(now.Spec.SignerName) {
			a.Add(now.Name)
		}
	}))
	return a
}

func ours(signer string) bool {
	return signer == certificatesv1.KubeAPIServerClientKubeletSignerName || signer == certificatesv1.KubeletServingSignerName
}

func (a *Approver) sync(ctx context.Context, name string) error {
	r, err := a.requests.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !pending(r) || !ours(r.Spec.SignerName) {
		return err
	}
	wanted, _, err := auth.Signable(&r.Spec)
	if err != nil {
		return a.decide(ctx, r, certificatesv1.CertificateDenied, "NotSignable", err.Error())
	}
	node := auth.NodeOf(wanted.Subject.CommonName)
	if r.Spec.SignerName == certificatesv1.KubeletServingSignerName {
		if refusal := a.serving(node, wanted); refusal != "" {
			return a.decide(ctx, r, certificatesv1.CertificateDenied, "NotOwn", refusal)
		}
		return a.decide(ctx, r, certificatesv1.CertificateApproved, "AutoApproved", "Auto approving kubelet server certificate: the node's own name and addresses.")
	}
	permission, message := "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."
	if r.Spec.Username == wanted.Subject.CommonName {
		permission, message = "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."
	}
	allowed, err := a.allowed(ctx, r, permission)
	switch {
	case err != nil:
		return err
	case !allowed:
		return nil // a person may know more
	}
	if permission == "nodeclient" && a.lives(node) {
		return a.decide(ctx, r, certificatesv1.CertificateDenied, "NameTaken",
			fmt.Sprintf("node %s exists and is Ready, so its name is taken: choose another with --node-name, or delete the Node first", node))
	}
	return a.decide(ctx, r, certificatesv1.CertificateApproved, "AutoApproved", message)
}

func (a *Approver) decide(ctx context.Context, r *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType, reason, message string) error {
	_, err := a.Client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, r.Name, with(a.Config, r, kind, reason, message), metav1.UpdateOptions{})
	return controller.IgnoreNotFound(err)
}

// allowed asks whether the requester may have such requests approved.
func (a *Approver) allowed(ctx context.Context, r *certificatesv1.CertificateSigningRequest, permission string) (bool, error) {
	extra := make(map[string]authorizationv1.ExtraValue, len(r.Spec.Extra))
	for k, v := range r.Spec.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	review, err := a.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: r.Spec.Username, UID: r.Spec.UID, Groups: r.Spec.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: certificatesv1.GroupName, Resource: "certificatesigningrequests", Subresource: permission, Verb: "create", Version: "*",
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// lives tells whether a node of this name is at work. A machine that lost its
// certificate gets a new one once its node counts as gone.
func (a *Approver) lives(name string) bool {
	n, err := a.nodes.Get(name)
	if err != nil {
		return false
	}
	ready := controller.NodeCondition(n, corev1.NodeReady)
	return ready != nil && ready.Status == corev1.ConditionTrue
}

// serving says why a node may not have a serving certificate, or nothing.
func (a *Approver) serving(node string, r *x509.CertificateRequest) string {
	for _, name := range r.DNSNames {
		if name != node {
			return fmt.Sprintf("%q is not the name of node %q", name, node)
		}
		if slices.ContainsFunc(a.reserved.Names, func(s string) bool { return strings.EqualFold(s, name) }) && node != a.reserved.Node {
			return fmt.Sprintf("%q is a name of the API server: call the node otherwise", name)
		}
	}
	others, err := a.nodes.List(labels.Everything())
	if err != nil {
		return err.Error()
	}
	for _, ip := range r.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		addr = addr.Unmap()
		if !addr.IsGlobalUnicast() {
			return fmt.Sprintf("%s is no address by which others reach a node", addr)
		}
		for _, p := range a.reserved.Networks {
			if p.Contains(addr) {
				return fmt.Sprintf("%s is an address of the cluster's network %s", addr, p)
			}
		}
		if slices.Contains(a.reserved.Names, addr.String()) && node != a.reserved.Node {
			return fmt.Sprintf("%s is an address of the API server", addr)
		}
		for _, other := range others {
			if other.Name != node && has(other, addr) {
				return fmt.Sprintf("%s is the address of node %s", addr, other.Name)
			}
		}
	}
	return ""
}

func has(n *corev1.Node, addr netip.Addr) bool {
	return slices.ContainsFunc(n.Status.Addresses, func(have corev1.NodeAddress) bool {
		ip, err := netip.ParseAddr(have.Address)
		return err == nil && ip.Unmap() == addr
	})
}
