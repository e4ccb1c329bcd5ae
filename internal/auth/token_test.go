package auth

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

// cluster is the objects that a test makes up, by resource/namespace/name.
type cluster map[string]metav1.Object

func (c cluster) Object(r schema.GroupResource, namespace, name string) metav1.Object {
	return c[r.String()+"/"+namespace+"/"+name]
}

func (c cluster) PodsOn(node string) []*corev1.Pod {
	var on []*corev1.Pod
	for _, o := range c {
		if pod, ok := o.(*corev1.Pod); ok && pod.Spec.NodeName == node {
			on = append(on, pod)
		}
	}
	return on
}

func meta(namespace, name, uid string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}
}

type tokens struct {
	*Signer
	*Verifier
	clock   *testingclock.FakePassiveClock
	cluster cluster
	account *corev1.ServiceAccount
	pod     *corev1.Pod
	node    *corev1.Node
}

func newTokens(t testing.TB) *tokens {
	p, clk := newPKI(t, "", birth)
	c := &tokens{
		clock:   clk,
		account: &corev1.ServiceAccount{ObjectMeta: meta("ns", "robot", "sa-uid")},
		pod:     &corev1.Pod{ObjectMeta: meta("ns", "web", "pod-uid")},
		node:    &corev1.Node{ObjectMeta: meta("", "n1", "node-uid")},
	}
	c.cluster = cluster{"serviceaccounts/ns/robot": c.account, "pods/ns/web": c.pod, "nodes//n1": c.node}
	var err error
	if c.Signer, err = NewSigner(p.TokenKey(), clk); err != nil {
		t.Fatal(err)
	}
	if c.Verifier, err = NewVerifier(p.TokenKey(), clk, c.cluster); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *tokens) sign(t testing.TB, b Binding, audience []string, life time.Duration) string {
	t.Helper()
	token, ends, err := c.Sign(c.account, b, audience, life)
	if err != nil {
		t.Fatal(err)
	}
	if want := c.clock.Now().Add(life); !ends.Equal(want) {
		t.Fatalf("token ends %s, want %s", ends, want)
	}
	return token
}

func TestToken(t *testing.T) {
	c := newTokens(t)
	token := c.sign(t, Binding{Pod: c.pod, Node: c.node}, nil, time.Hour)
	for range 2 { // the second time it is known
		u, audience, err := c.Verify(token, nil)
		if err != nil {
			t.Fatal(err)
		}
		extra := u.GetExtra()
		id := extra["authentication.kubernetes.io/credential-id"]
		if u.GetName() != "system:serviceaccount:ns:robot" || u.GetUID() != "sa-uid" ||
			strings.Join(u.GetGroups(), " ") != "system:serviceaccounts system:serviceaccounts:ns system:authenticated" ||
			extra["authentication.kubernetes.io/pod-name"][0] != "web" || extra["authentication.kubernetes.io/pod-uid"][0] != "pod-uid" ||
			extra["authentication.kubernetes.io/node-name"][0] != "n1" || extra["authentication.kubernetes.io/node-uid"][0] != "node-uid" ||
			len(id) != 1 || !strings.HasPrefix(id[0], "JTI=") || len(audience) != 1 || audience[0] != Issuer {
			t.Errorf("user is %v, audience %v", u, audience)
		}
	}
}

func TestTokenEnds(t *testing.T) {
	for name, test := range map[string]struct {
		bind   func(c *tokens) Binding
		life   time.Duration
		wanted []string
		change func(c *tokens)
		fails  string
	}{
		"in time":               {change: func(c *tokens) { c.clock.SetTime(birth.Add(time.Hour - time.Second)) }},
		"expired":               {change: func(c *tokens) { c.clock.SetTime(birth.Add(time.Hour)) }, fails: "expired"},
		"of the future":         {change: func(c *tokens) { c.clock.SetTime(birth.Add(-time.Hour)) }, fails: "not valid yet"},
		"clocks differ":         {change: func(c *tokens) { c.clock.SetTime(birth.Add(-time.Minute)) }},
		"for others":            {wanted: []string{"vault"}, fails: "audiences"},
		"for others too":        {wanted: []string{"vault", Issuer}},
		"account gone":          {change: func(c *tokens) { delete(c.cluster, "serviceaccounts/ns/robot") }, fails: "service account ns/robot is no more"},
		"account made anew":     {change: func(c *tokens) { c.account.UID = "other" }, fails: "service account ns/robot is no more"},
		"pod gone":              {bind: func(c *tokens) Binding { return Binding{Pod: c.pod} }, change: func(c *tokens) { delete(c.cluster, "pods/ns/web") }, fails: "pod ns/web is no more"},
		"pod made anew":         {bind: func(c *tokens) Binding { return Binding{Pod: c.pod} }, change: func(c *tokens) { c.pod.UID = "x" }, fails: "pod ns/web is no more"},
		"pod's node gone":       {bind: func(c *tokens) Binding { return Binding{Pod: c.pod, Node: c.node} }, change: func(c *tokens) { delete(c.cluster, "nodes//n1") }},
		"bound to a node, gone": {bind: func(c *tokens) Binding { return Binding{Node: c.node} }, change: func(c *tokens) { delete(c.cluster, "nodes//n1") }, fails: "node n1 is no more"},
		"pod terminating":       {bind: func(c *tokens) Binding { return Binding{Pod: c.pod} }, change: func(c *tokens) { c.pod.DeletionTimestamp = &metav1.Time{Time: birth} }},
		"pod long terminated": {bind: func(c *tokens) Binding { return Binding{Pod: c.pod} }, change: func(c *tokens) {
			c.pod.DeletionTimestamp = &metav1.Time{Time: birth}
			c.clock.SetTime(birth.Add(2 * time.Minute))
		}, fails: "has been deleted"},
		// What admission asks for is good for a year, for clients of old.
		"extended":     {bind: func(c *tokens) Binding { return Binding{Pod: c.pod} }, life: 3607 * time.Second, change: func(c *tokens) { c.clock.SetTime(birth.Add(300 * 24 * time.Hour)) }},
		"not extended": {life: 3607 * time.Second, change: func(c *tokens) { c.clock.SetTime(birth.Add(2 * time.Hour)) }, fails: "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTokens(t)
			var b Binding
			if test.bind != nil {
				b = test.bind(c)
			}
			life := time.Hour
			if test.life != 0 {
				life = test.life
			}
			token := c.sign(t, b, nil, life)
			if _, _, err := c.Verify(token, nil); err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				test.change(c)
			}
			_, _, err := c.Verify(token, test.wanted)
			if test.fails == "" && err != nil || test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
				t.Errorf("error is %v, want %q", err, test.fails)
			}
		})
	}
}

// No change to a token leaves it valid.
func TestTokenIsNotForged(t *testing.T) {
	c := newTokens(t)
	token := c.sign(t, Binding{Pod: c.pod}, nil, time.Hour)
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(token)
		i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		x := rapid.Byte().Draw(t, "byte")
		if b[i] == x {
			return
		}
		b[i] = x
		if _, _, err := c.Verify(string(b), nil); err == nil {
			t.Fatalf("byte %d changed to %q: still valid", i, x)
		}
	})
	enc := base64.RawURLEncoding.EncodeToString
	parts := strings.Split(token, ".")
	for _, forged := range []string{
		"", ".", "..", "...", "a.b.c", strings.Repeat("a", 1<<20), token + ".", token + "=", token[:len(token)-1],
		enc([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		enc([]byte(`{"alg":"none","kid":"`+c.Signer.key.id+`"}`)) + "." + parts[1] + ".",
		enc([]byte(`{"alg":"HS256","kid":"`+c.Signer.key.id+`"}`)) + "." + parts[1] + "." + parts[2],
	} {
		if _, _, err := c.Verify(forged, nil); err == nil {
			t.Errorf("forged token %.40q is valid", forged)
		}
	}
	other := newTokens(t)
	if _, _, err := c.Verify(other.sign(t, Binding{}, nil, time.Hour), nil); err == nil {
		t.Error("another cluster's token is valid")
	}
}

// What is published is enough for others to check tokens by, with a library
// that is not this one.
func TestDiscoveryDocuments(t *testing.T) {
	c := newTokens(t)
	h, err := c.Discovery("https://10.0.0.1:6443/openid/v1/jwks")
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string, into any) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", path, w.Code)
		}
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatal(err)
		}
	}
	var configuration struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	get(DiscoveryPath, &configuration)
	if configuration.Issuer != Issuer || !strings.HasSuffix(configuration.Keys, KeysPath) {
		t.Errorf("configuration is %+v", configuration)
	}
	var keys jose.JSONWebKeySet
	get(KeysPath, &keys)
	token := c.sign(t, Binding{Pod: c.pod}, []string{"a", "b"}, time.Hour)
	parsed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := parsed.Verify(keys.Key(parsed.Signatures[0].Header.KeyID)[0])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	json.Unmarshal(payload, &claims)
	k := claims["kubernetes.io"].(map[string]any)
	if claims["sub"] != "system:serviceaccount:ns:robot" || k["pod"].(map[string]any)["uid"] != "pod-uid" || k["namespace"] != "ns" {
		t.Errorf("claims are %s", payload)
	}
}

func TestRecentIsBounded(t *testing.T) {
	var r recent[int]
	var key [32]byte
	for i := range 10 * recentMost {
		key[0], key[1], key[2] = byte(i), byte(i>>8), byte(i>>16)
		r.put(key, i)
		r.get([32]byte{}) // the first is used all the time
	}
	if len(r.new)+len(r.old) > 2*recentMost {
		t.Errorf("%d entries", len(r.new)+len(r.old))
	}
	if _, ok := r.get([32]byte{}); !ok {
		t.Error("what is used was forgotten")
	}
}

func FuzzVerify(f *testing.F) {
	c := newTokens(f)
	token := c.sign(f, Binding{}, nil, time.Hour)
	f.Add(token)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, s string) {
		if _, _, err := c.Verify(s, nil); err == nil && s != token {
			t.Errorf("%q is valid", s)
		}
	})
}

func BenchmarkVerifyKnown(b *testing.B) {
	c := newTokens(b)
	token := c.sign(b, Binding{Pod: c.pod}, nil, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Verify(token, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyNew(b *testing.B) {
	c := newTokens(b)
	token := c.sign(b, Binding{Pod: c.pod}, nil, time.Hour)
	for b.Loop() {
		c.known = recent[*verified]{}
		if _, _, err := c.Verify(token, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	c := newTokens(b)
	for b.Loop() {
		c.sign(b, Binding{Pod: c.pod}, nil, time.Hour)
	}
}
