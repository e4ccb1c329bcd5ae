package auth

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
)

// Issuer is who ServiceAccount tokens say they are from, and the audience of
// the API server itself.
const Issuer = "https://kubernetes.default.svc.cluster.local"

const (
	// MinTokenLife and MaxTokenLife bound what a TokenRequest may ask for.
	MinTokenLife = 10 * time.Minute
	MaxTokenLife = 1 << 32 * time.Second

	// podTokenLife is what the ServiceAccount admission asks for. Clients of
	// old that never read their token again get it for extendedLife, with a
	// claim that says when they should have: upstream's rule.
	podTokenLife = 3607 * time.Second
	extendedLife = 365 * 24 * time.Hour

	// deletionLeeway is how long a token outlives the request to delete what
	// it is bound to.
	deletionLeeway = time.Minute
)

// Objects finds live objects by name; the API server's watch cache does. The
// answer is nil if there is no such object, and is never changed.
type Objects interface {
	Object(resource schema.GroupResource, namespace, name string) metav1.Object
}

type reference struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
}

// claims are a ServiceAccount token's, as upstream writes them.
type claims struct {
	Audiences  audiences `json:"aud"`
	Expires    int64     `json:"exp"`
	Issued     int64     `json:"iat"`
	Issuer     string    `json:"iss"`
	ID         string    `json:"jti,omitempty"`
	Kubernetes bound     `json:"kubernetes.io"`
	NotBefore  int64     `json:"nbf"`
	Subject    string    `json:"sub"`
}

type bound struct {
	Namespace      string     `json:"namespace"`
	Node           *reference `json:"node,omitempty"`
	Pod            *reference `json:"pod,omitempty"`
	Secret         *reference `json:"secret,omitempty"`
	ServiceAccount reference  `json:"serviceaccount"`
	WarnAfter      int64      `json:"warnafter,omitempty"`
}

// audiences is one string or a list of them in JSON.
type audiences []string

func (a *audiences) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// Signer makes ServiceAccount tokens.
type Signer struct {
	key   *jwtKey
	clock clock.PassiveClock
}

// NewSigner returns a Signer for the PKI's token key.
func NewSigner(key *ecdsa.PrivateKey, clk clock.PassiveClock) (*Signer, error) {
	k, err := newJWTKey(key)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	return &Signer{key: k, clock: clk}, nil
}

// Binding is what a token is good for besides its ServiceAccount.
type Binding struct {
	Pod    *corev1.Pod    // at most one of Pod,
	Secret *corev1.Secret // Secret
	Node   *corev1.Node   // and Node alone; with Pod, the Pod's node if known
}

// Sign returns a token for the ServiceAccount, and when it ends as its owner
// is told. spec is defaulted and validated: the life is within MinTokenLife and
// MaxTokenLife; no audiences means the API server's.
func (s *Signer) Sign(sa *corev1.ServiceAccount, b Binding, audience []string, life time.Duration) (string, time.Time, error) {
	now := s.clock.Now()
	if len(audience) == 0 {
		audience = []string{Issuer}
	}
	c := claims{
		Audiences: audience,
		Issued:    now.Unix(), NotBefore: now.Unix(), Expires: now.Add(life).Unix(),
		Issuer: Issuer, Subject: ServiceAccountUser(sa.Namespace, sa.Name), ID: uuid.NewString(),
		Kubernetes: bound{
			Namespace:      sa.Namespace,
			ServiceAccount: reference{sa.Name, sa.UID},
		},
	}
	if b.Pod != nil {
		c.Kubernetes.Pod = &reference{b.Pod.Name, b.Pod.UID}
	}
	if b.Secret != nil {
		c.Kubernetes.Secret = &reference{b.Secret.Name, b.Secret.UID}
	}
	if b.Node != nil {
		c.Kubernetes.Node = &reference{b.Node.Name, b.Node.UID}
	}
	ends := time.Unix(c.Expires, 0)
	if life == podTokenLife && b.Pod != nil && slices.Contains(audience, Issuer) {
		c.Kubernetes.WarnAfter = c.Expires
		c.Expires = now.Add(extendedLife).Unix()
	}
	token, err := s.key.sign(c)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token of %s: %w", c.Subject, err)
	}
	return token, ends, nil
}

// Verifier checks ServiceAccount tokens. What a signature cost to check is
// remembered; that the token's time has not passed and that what it is bound
// to exists is looked at every time.
type Verifier struct {
	key     *jwtKey
	clock   clock.PassiveClock
	objects Objects
	known   recent[*verified]
	counts  tokenCounts
}

type verified struct {
	claims claims
	user   user.Info
}

// NewVerifier returns a Verifier of the tokens that key signed.
func NewVerifier(key *ecdsa.PrivateKey, clk clock.PassiveClock, objects Objects) (*Verifier, error) {
	k, err := newJWTKey(key)
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	return &Verifier{key: k, clock: clk, objects: objects}, nil
}

// Verify returns whom a token, of a ServiceAccount or for bootstrapping, stands for and which of the wanted audiences it
// was made for. No wanted audiences means the API server's. The error says
// what is wrong with the token, for the log and for TokenReviews.
func (v *Verifier) Verify(token string, wanted []string) (user.Info, []string, error) {
	if len(token) > maxToken {
		return nil, nil, errMalformed
	}
	if b, ok := parseBootstrapToken(token); ok {
		if wanted != nil && !slices.Contains(wanted, Issuer) {
			return nil, nil, fmt.Errorf("a bootstrap token is for the API server and not for %q", wanted)
		}
		u, err := v.bootstrapper(b)
		return u, apiAudience, err
	}
	key := sha256.Sum256([]byte(token))
	t, ok := v.known.get(key)
	v.counts.lookup(ok)
	if !ok {
		t = &verified{}
		err := v.key.verify(token, &t.claims)
		if err == nil {
			err = t.claims.complete()
		}
		if v.counts.verified(err); err != nil {
			return nil, nil, err
		}
		t.user = t.claims.user()
		v.known.put(key, t)
	}
	now := v.clock.Now()
	if now.Unix() >= t.claims.Expires {
		return nil, nil, errors.New("the token has expired")
	}
	if now.Add(skew).Unix() < t.claims.NotBefore {
		return nil, nil, errors.New("the token is not valid yet")
	}
	if wanted == nil {
		wanted = apiAudience
	}
	var matched []string
	if slices.Equal(wanted, t.claims.Audiences) {
		matched = wanted
	} else {
		for _, w := range wanted {
			if slices.Contains(t.claims.Audiences, w) {
				matched = append(matched, w)
			}
		}
	}
	if len(matched) == 0 {
		return nil, nil, fmt.Errorf("the token's audiences %q are not among %q", t.claims.Audiences, wanted)
	}
	if err := v.live(&t.claims.Kubernetes, now); err != nil {
		return nil, nil, err
	}
	if after := t.claims.Kubernetes.WarnAfter; after != 0 {
		v.counts.used(now.Unix() > after)
	}
	return t.user, matched, nil
}

var apiAudience = []string{Issuer} // never changed

// complete rejects what this cluster's Signer never signs.
func (c *claims) complete() error {
	k := &c.Kubernetes
	switch {
	case c.Issuer != Issuer:
		return fmt.Errorf("the token's issuer is %q", c.Issuer)
	case k.Namespace == "" || k.ServiceAccount.Name == "" || k.ServiceAccount.UID == "":
		return errors.New("the token names no ServiceAccount")
	case c.Subject != ServiceAccountUser(k.Namespace, k.ServiceAccount.Name):
		return fmt.Errorf("the token's subject is %q", c.Subject)
	}
	return nil
}

// live checks that all the token is bound to exists.
func (v *Verifier) live(k *bound, now time.Time) error {
	for _, b := range [...]struct {
		kind, resource, namespace string
		ref                       *reference
	}{
		{"service account", "serviceaccounts", k.Namespace, &k.ServiceAccount},
		{"pod", "pods", k.Namespace, k.Pod},
		{"secret", "secrets", k.Namespace, k.Secret},
	} {
		if b.ref == nil {
			continue
		}
		o := v.objects.Object(schema.GroupResource{Resource: b.resource}, b.namespace, b.ref.Name)
		if o == nil || o.GetUID() != b.ref.UID {
			return fmt.Errorf("the token's %s %s/%s is no more", b.kind, b.namespace, b.ref.Name)
		}
		if d := o.GetDeletionTimestamp(); d != nil && now.After(d.Add(deletionLeeway)) {
			return fmt.Errorf("the token's %s %s/%s has been deleted", b.kind, b.namespace, b.ref.Name)
		}
	}
	// A token bound to a pod names the pod's node for information only.
	if k.Node != nil && k.Pod == nil {
		if o := v.objects.Object(schema.GroupResource{Resource: "nodes"}, "", k.Node.Name); o == nil || o.GetUID() != k.Node.UID {
			return fmt.Errorf("the token's node %s is no more", k.Node.Name)
		}
	}
	return nil
}

// Keys of the extra information about a ServiceAccount token's bearer.
const (
	extraPodName    = "authentication.kubernetes.io/pod-name"
	extraPodUID     = "authentication.kubernetes.io/pod-uid"
	extraNodeName   = "authentication.kubernetes.io/node-name"
	extraNodeUID    = "authentication.kubernetes.io/node-uid"
	extraCredential = "authentication.kubernetes.io/credential-id"
)

func (c *claims) user() user.Info {
	k := &c.Kubernetes
	extra := map[string][]string{}
	if c.ID != "" {
		extra[extraCredential] = []string{"JTI=" + c.ID}
	}
	if k.Pod != nil {
		extra[extraPodName], extra[extraPodUID] = []string{k.Pod.Name}, []string{string(k.Pod.UID)}
	}
	if k.Node != nil {
		extra[extraNodeName], extra[extraNodeUID] = []string{k.Node.Name}, []string{string(k.Node.UID)}
	}
	return &user.DefaultInfo{
		Name:   c.Subject,
		UID:    string(k.ServiceAccount.UID),
		Groups: append(ServiceAccountGroups(k.Namespace), Authenticated),
		Extra:  extra,
	}
}
