package kubelet

import (
	"context"
	"fmt"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// maxTokenAge: a token is replaced after a day, however long it lasts.
const maxTokenAge = 24 * time.Hour

// tokens gets the service account tokens that pods are given, and keeps each
// for as long as it is good.
type tokens struct {
	client kubernetes.Interface
	clock  clock.Clock
	mu     sync.Mutex
	known  map[tokenKey]tokenValue
}

type tokenKey struct {
	pod      types.UID
	audience string
	seconds  int64
}

type tokenValue struct {
	token string
	renew time.Time
}

func newTokens(c kubernetes.Interface, clk clock.Clock) *tokens {
	return &tokens{client: c, clock: clk, known: map[tokenKey]tokenValue{}}
}

// get returns a token bound to the pod, and when to ask for the next: at 80 %
// of its life.
func (t *tokens) get(ctx context.Context, pod *v1.Pod, s *v1.ServiceAccountTokenProjection) (string, time.Time, error) {
	key := tokenKey{pod: pod.UID, audience: s.Audience, seconds: 3600}
	if s.ExpirationSeconds != nil {
		key.seconds = *s.ExpirationSeconds
	}
	now := t.clock.Now()
	t.mu.Lock()
	have, ok := t.known[key]
	t.mu.Unlock()
	if ok && now.Before(have.renew) {
		return have.token, have.renew, nil
	}
	req := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: &key.seconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if s.Audience != "" {
		req.Spec.Audiences = []string{s.Audience}
	}
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	res, err := t.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, req, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	if res.Status.Token == "" {
		return "", time.Time{}, fmt.Errorf("the API gave no token for service account %q", account)
	}
	life := res.Status.ExpirationTimestamp.Sub(now)
	value := tokenValue{token: res.Status.Token, renew: now.Add(min(life*8/10, maxTokenAge))}
	t.mu.Lock()
	t.known[key] = value
	t.mu.Unlock()
	return value.token, value.renew, nil
}

// drop forgets the pod's tokens.
func (t *tokens) drop(pod types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.known {
		if k.pod == pod {
			delete(t.known, k)
		}
	}
}
