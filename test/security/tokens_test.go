package security

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"clipper/internal/auth"
)

var raw = base64.RawURLEncoding

// testTokens: a ServiceAccount token is good for its time, its audience and as
// long as what it is bound to, and nobody else makes one.
func testTokens(t *testing.T, w *world) {
	ctx := t.Context()
	accounts := w.client.CoreV1().ServiceAccounts("default")
	account := func(name string) *corev1.ServiceAccount {
		a, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	request := func(name string, spec authenticationv1.TokenRequestSpec) string {
		r, err := accounts.CreateToken(ctx, name, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Status.Token
	}
	kept, gone := account("kept"), account("gone")
	good := request("kept", authenticationv1.TokenRequestSpec{})
	ofGone := request("gone", authenticationv1.TokenRequestSpec{})
	if err := accounts.Delete(ctx, "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	secrets := w.client.CoreV1().Secrets("default")
	if _, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bound"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ofSecret := request("kept", authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: "bound"}})
	if err := secrets.Delete(ctx, "bound", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := shell("bound", "exit 0")
	pod.Spec.ServiceAccountName = "kept"
	pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "test/never"}}
	pods := w.client.CoreV1().Pods("default")
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ofPod := request("kept", authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "bound"}})
	stranger := w.as(t, "")
	stranger.token = ofPod
	if code, text := stranger.ask(t, "GET", "/apis", ""); code != 200 {
		t.Errorf("a pod's token is not taken while the pod is there: %d %s", code, text)
	}
	if err := pods.Delete(ctx, "bound", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	sign := func(key *ecdsa.PrivateKey, at time.Time, a *corev1.ServiceAccount, audience ...string) string {
		s, err := auth.NewSigner(key, clocktesting.NewFakePassiveClock(at))
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := s.Sign(a, auth.Binding{}, audience, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	renamed := kept.DeepCopy()
	renamed.Namespace = "kube-system"
	impostor := gone.DeepCopy()
	impostor.Name, impostor.UID = "kept", "00000000-0000-0000-0000-000000000000"

	parts := strings.Split(good, ".")
	with := func(header, payload string, signature []byte) string {
		return raw.EncodeToString([]byte(header)) + "." + payload + "." + raw.EncodeToString(signature)
	}
	der, err := x509.MarshalPKIXPublicKey(w.pki.TokenKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	kid := raw.EncodeToString(sum[:])
	symmetric := func() string {
		header := raw.EncodeToString([]byte(`{"alg":"HS256","kid":"` + kid + `"}`))
		mac := hmac.New(sha256.New, der)
		mac.Write([]byte(header + "." + parts[1]))
		return header + "." + parts[1] + "." + raw.EncodeToString(mac.Sum(nil))
	}
	signature, err := raw.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	claims, err := raw.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	moved := raw.EncodeToString([]byte(strings.ReplaceAll(string(claims), ":default:", ":kube-system:")))

	for _, c := range []struct {
		name, token string
		code        int
	}{
		{"good", good, 200},
		{"signed with the cluster's key", sign(w.pki.TokenKey(), now, kept), 200},
		{"another audience", request("kept", authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}}), 401},
		{"expired", sign(w.pki.TokenKey(), now.Add(-2*time.Hour), kept), 401},
		{"not valid yet", sign(w.pki.TokenKey(), now.Add(time.Hour), kept), 401},
		{"of a deleted ServiceAccount", ofGone, 401},
		{"bound to a deleted pod", ofPod, 401},
		{"bound to a deleted Secret", ofSecret, 401},
		{"of an account of another namespace", sign(w.pki.TokenKey(), now, renamed), 401},
		{"of an earlier account of the name", sign(w.pki.TokenKey(), now, impostor), 401},
		{"signed with another key", sign(foreign, now, kept), 401},
		{"alg none", with(`{"alg":"none","kid":"`+kid+`"}`, parts[1], nil), 401},
		{"alg None, unsigned", with(`{"alg":"None"}`, parts[1], nil), 401},
		{"alg RS256", with(`{"alg":"RS256","kid":"`+kid+`"}`, parts[1], signature), 401},
		{"alg HS256 over the public key", symmetric(), 401},
		{"claims exchanged", parts[0] + "." + moved + "." + parts[2], 401},
		{"signature of zeros", parts[0] + "." + parts[1] + "." + raw.EncodeToString(make([]byte, 64)), 401},
		{"no signature", parts[0] + "." + parts[1] + ".", 401},
		{"a fourth part", good + ".e30", 401},
		{"padding", good + "==", 401},
		{"a critical extension", with(`{"alg":"ES256","kid":"`+kid+`","crit":["b64"],"b64":false}`, parts[1], signature), 401},
		{"very long", strings.Repeat("a", 20<<10) + ".b.c", 401},
	} {
		stranger.token = c.token
		if code, text := stranger.ask(t, "GET", "/apis", ""); code != c.code {
			t.Errorf("token %s: %d, want %d: %.200s", c.name, code, c.code, text)
		}
	}
	// What is known to be good must not hide that its account is gone.
	stranger.token = good
	if err := accounts.Delete(context.WithoutCancel(ctx), "kept", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, _ := stranger.ask(t, "GET", "/apis", ""); code != 401 {
		t.Errorf("a token that was good a moment ago outlives its account: %d", code)
	}
}
