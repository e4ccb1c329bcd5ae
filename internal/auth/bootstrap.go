package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
)

// A bootstrap token lets a machine ask for its first certificate. It is a
// Secret that every tool of the ecosystem knows: of this type, this name and
// these keys, in kube-system.
const (
	BootstrapTokenType = corev1.SecretType("bootstrap.kubernetes.io/token")

	bootstrapSecretPrefix = "bootstrap-token-"
	bootstrapID           = "token-id"
	bootstrapSecret       = "token-secret"
	bootstrapExpiration   = "expiration"
	bootstrapDescription  = "description"
	bootstrapAuth         = "usage-bootstrap-authentication"
	bootstrapGroups       = "auth-extra-groups"

	idLength, secretLength = 6, 16
)

// BootstrapSecretName returns the name of the Secret of a token.
func BootstrapSecretName(id string) string { return bootstrapSecretPrefix + id }

// BootstrapToken is a bootstrap token: its public half, which names it, and
// its secret one.
type BootstrapToken struct{ ID, Secret string }

// NewBootstrapToken makes a token of random bytes.
func NewBootstrapToken(random io.Reader) (BootstrapToken, error) {
	text, err := randomText(random, idLength+secretLength)
	if err != nil {
		return BootstrapToken{}, err
	}
	return BootstrapToken{ID: text[:idLength], Secret: text[idLength:]}, nil
}

// randomText returns n letters and digits, each as likely as any other.
func randomText(random io.Reader, n int) (string, error) {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	const fair = 256 - 256%len(alphabet)
	text, one := make([]byte, 0, n), make([]byte, 1)
	for len(text) < n {
		if _, err := io.ReadFull(random, one); err != nil {
			return "", fmt.Errorf("a random token: %w", err)
		}
		if int(one[0]) < fair {
			text = append(text, alphabet[int(one[0])%len(alphabet)])
		}
	}
	return string(text), nil
}

// String returns the token as a client presents it: ID.SECRET.
func (t BootstrapToken) String() string { return t.ID + "." + t.Secret }

// parseBootstrapToken takes ID.SECRET apart; ok is false for any other text.
func parseBootstrapToken(s string) (t BootstrapToken, ok bool) {
	if len(s) != idLength+1+secretLength || s[idLength] != '.' {
		return t, false
	}
	t = BootstrapToken{ID: s[:idLength], Secret: s[idLength+1:]}
	return t, plain(t.ID) && plain(t.Secret)
}

// ParseBootstrapToken reads what String wrote.
func ParseBootstrapToken(s string) (BootstrapToken, error) {
	t, ok := parseBootstrapToken(s)
	if !ok {
		return t, errors.New("a bootstrap token is not of the form ID.SECRET, six and sixteen small letters and digits")
	}
	return t, nil
}

func plain(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// AsSecret returns the Secret that makes the token valid until it expires; a
// zero time is for ever.
func (t BootstrapToken) AsSecret(description string, expires time.Time) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: BootstrapSecretName(t.ID), Namespace: metav1.NamespaceSystem},
		Type:       BootstrapTokenType,
		Data: map[string][]byte{
			bootstrapID: []byte(t.ID), bootstrapSecret: []byte(t.Secret), bootstrapAuth: []byte("true"),
		},
	}
	if description != "" {
		s.Data[bootstrapDescription] = []byte(description)
	}
	if !expires.IsZero() {
		s.Data[bootstrapExpiration] = []byte(expires.UTC().Format(time.RFC3339))
	}
	return s
}

// BootstrapInfo is what may be shown of a bootstrap token.
type BootstrapInfo struct {
	ID          string `json:"id"`
	Description string `json:"description,omitempty"`
	// Expires is zero for a token that does not.
	Expires time.Time `json:"expires,omitzero"`
	// Authenticates tells whether it is good for joining.
	Authenticates bool     `json:"authenticates"`
	Groups        []string `json:"groups,omitempty"`
}

// ReadBootstrapSecret returns what a token's Secret says, or what is wrong with
// it: such a Secret makes no token.
func ReadBootstrapSecret(s *corev1.Secret) (BootstrapInfo, error) {
	id := string(s.Data[bootstrapID])
	i := BootstrapInfo{
		ID: id, Description: string(s.Data[bootstrapDescription]),
		Authenticates: string(s.Data[bootstrapAuth]) == "true",
	}
	if s.Type != BootstrapTokenType || len(id) != idLength || !plain(id) || s.Name != BootstrapSecretName(id) {
		return i, fmt.Errorf("Secret %s is not that of a bootstrap token", s.Name)
	}
	if secret := string(s.Data[bootstrapSecret]); len(secret) != secretLength || !plain(secret) {
		return i, fmt.Errorf("the secret of bootstrap token %s is damaged", id)
	}
	if e := string(s.Data[bootstrapExpiration]); e != "" {
		var err error
		// An end that cannot be read may have passed.
		if i.Expires, err = time.Parse(time.RFC3339, e); err != nil {
			return i, fmt.Errorf("the expiration of bootstrap token %s: %w", id, err)
		}
	}
	for _, g := range strings.Split(string(s.Data[bootstrapGroups]), ",") {
		if g = strings.TrimSpace(g); g == "" {
			continue
		}
		if !extraGroup(g) {
			return i, fmt.Errorf("the group %q of bootstrap token %s does not begin with %s: or holds other characters", g, id, Bootstrappers)
		}
		i.Groups = append(i.Groups, g)
	}
	return i, nil
}

// extraGroup: a token puts its bearer into no group that has a meaning of its own.
func extraGroup(g string) bool {
	rest, ok := strings.CutPrefix(g, Bootstrappers+":")
	return ok && rest != "" && len(rest) <= 256 && rest[len(rest)-1] != ':' && rest[len(rest)-1] != '-' &&
		strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789:-") == ""
}

var errBootstrap = errors.New("the bootstrap token is unknown, has expired or is not for this")

// bootstrapper returns whom a bootstrap token stands for. The error tells no
// more than that it is not good.
func (v *Verifier) bootstrapper(t BootstrapToken) (user.Info, error) {
	o := v.objects.Object(schema.GroupResource{Resource: "secrets"}, metav1.NamespaceSystem, BootstrapSecretName(t.ID))
	s, ok := o.(*corev1.Secret)
	if !ok || s.DeletionTimestamp != nil {
		return nil, errBootstrap
	}
	info, err := ReadBootstrapSecret(s)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(s.Data[bootstrapSecret], []byte(t.Secret)) != 1 {
		return nil, errBootstrap
	}
	if !info.Authenticates || !info.Expires.IsZero() && !v.clock.Now().Before(info.Expires) {
		return nil, errBootstrap
	}
	return &user.DefaultInfo{
		Name:   BootstrapUser(t.ID),
		Groups: append([]string{Bootstrappers, Authenticated}, info.Groups...),
	}, nil
}

// JoinToken is all that a machine needs besides the server's address: a
// bootstrap token, and by what it knows the cluster's CA.
type JoinToken struct {
	BootstrapToken
	// CA is the hash of the CA's public key, so that it holds for a renewed
	// certificate too.
	CA [sha256.Size]byte
}

const joinSeparator = "@sha256:"

// String returns the token as one word: ID.SECRET@sha256:HASH.
func (t JoinToken) String() string {
	return t.BootstrapToken.String() + joinSeparator + hex.EncodeToString(t.CA[:])
}

// ParseJoinToken reads what String wrote.
func ParseJoinToken(s string) (JoinToken, error) {
	token, hash, ok := strings.Cut(strings.TrimSpace(s), joinSeparator)
	var t JoinToken
	if ok {
		t.BootstrapToken, ok = parseBootstrapToken(token)
	}
	if ok && len(hash) == hex.EncodedLen(len(t.CA)) {
		if _, err := hex.Decode(t.CA[:], []byte(hash)); err == nil {
			return t, nil
		}
	}
	return JoinToken{}, errors.New("the token is not one of the form ID.SECRET@sha256:HASH; `clipper token create` makes one")
}

// KeyHash returns the hash by which a join token knows a CA: of its public key,
// as kubeadm's --discovery-token-ca-cert-hash is.
func KeyHash(ca *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(ca.RawSubjectPublicKeyInfo)
}

// CAHash returns the hash of the CA in a PEM document of one certificate.
func CAHash(document []byte) ([sha256.Size]byte, error) {
	cert, err := decodeCert(document)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("the CA's certificate: %w", err)
	}
	return KeyHash(cert), nil
}
