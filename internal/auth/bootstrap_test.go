package auth

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

type oneSecret struct{ *corev1.Secret }

func (o oneSecret) Object(r schema.GroupResource, namespace, name string) metav1.Object {
	if o.Secret == nil || r.Resource != "secrets" || namespace != "kube-system" || name != o.Name {
		return nil
	}
	return o.Secret
}

func TestBootstrapToken(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	token, err := NewBootstrapToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := func(key, value string) func(*corev1.Secret) {
		return func(s *corev1.Secret) { s.Data[key] = []byte(value) }
	}
	for name, c := range map[string]struct {
		change  func(*corev1.Secret)
		present string
		wanted  []string // audiences
		groups  []string // nil is refused
	}{
		"good":              {groups: []string{"system:bootstrappers", "system:authenticated"}},
		"groups":            {change: set("auth-extra-groups", "system:bootstrappers:a:b, system:bootstrappers:c"), groups: []string{"system:bootstrappers", "system:authenticated", "system:bootstrappers:a:b", "system:bootstrappers:c"}},
		"a group of power":  {change: set("auth-extra-groups", "system:masters")},
		"a bad group":       {change: set("auth-extra-groups", "system:bootstrappers:")},
		"expired":           {change: set("expiration", now.Format(time.RFC3339))},
		"ends in a second":  {change: set("expiration", now.Add(time.Second).Format(time.RFC3339)), groups: []string{"system:bootstrappers", "system:authenticated"}},
		"end unreadable":    {change: set("expiration", "tomorrow")},
		"other usage":       {change: set("usage-bootstrap-authentication", "false")},
		"no usage":          {change: func(s *corev1.Secret) { delete(s.Data, "usage-bootstrap-authentication") }},
		"other id":          {change: set("token-id", "zzzzzz")},
		"empty secret":      {change: set("token-secret", ""), present: token.ID + "."},
		"other type":        {change: func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }},
		"being deleted":     {change: func(s *corev1.Secret) { s.DeletionTimestamp = &metav1.Time{Time: now} }},
		"other secret":      {present: token.ID + ".0000000000000000"},
		"other token":       {present: "zzzzzz." + token.Secret},
		"for others":        {wanted: []string{"vault"}},
		"for us and others": {wanted: []string{"vault", Issuer}, groups: []string{"system:bootstrappers", "system:authenticated"}},
	} {
		s := token.AsSecret("", now.Add(time.Hour))
		if c.change != nil {
			c.change(s)
		}
		if c.present == "" {
			c.present = token.String()
		}
		key, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		v, err := NewVerifier(key, clocktesting.NewFakePassiveClock(now), oneSecret{s})
		if err != nil {
			t.Fatal(err)
		}
		u, audiences, err := v.Verify(c.present, c.wanted)
		switch {
		case (err == nil) != (c.groups != nil):
			t.Errorf("%s: %v", name, err)
		case err == nil && (u.GetName() != "system:bootstrap:"+token.ID || !slices.Equal(u.GetGroups(), c.groups) || !slices.Equal(audiences, []string{Issuer})):
			t.Errorf("%s: %v, %v", name, u, audiences)
		}
	}
}

func TestJoinToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want JoinToken
		want.ID, want.Secret = rapid.StringMatching(`[a-z0-9]{6}`).Draw(t, "id"), rapid.StringMatching(`[a-z0-9]{16}`).Draw(t, "secret")
		copy(want.CA[:], rapid.SliceOfN(rapid.Byte(), len(want.CA), len(want.CA)).Draw(t, "hash"))
		if got, err := ParseJoinToken(" " + want.String() + "\n"); err != nil || got != want {
			t.Fatalf("%s: %v, %v", want, got, err)
		}
		// Whatever else is given is refused or means what it says.
		s := rapid.String().Draw(t, "text")
		if got, err := ParseJoinToken(s); err == nil && !strings.EqualFold(got.String(), strings.TrimSpace(s)) {
			t.Fatalf("%q is %v", s, got)
		}
	})
	for _, s := range []string{"", "abcdef", "abcdef.0123456789abcdef", "abcdef.0123456789abcdef@sha256:", "abcdef.0123456789abcdef@sha256:" + strings.Repeat("g", 64),
		"abcdef.0123456789abcdef@sha256:" + strings.Repeat("0", 66), "ABCDEF.0123456789abcdef@sha256:" + strings.Repeat("0", 64)} {
		if _, err := ParseJoinToken(s); err == nil || !strings.Contains(err.Error(), "clipper token create") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestRandomText: every letter comes as often as any other.
func TestRandomText(t *testing.T) {
	const n = 36_000
	text, err := randomText(rand.Reader, n)
	if err != nil || len(text) != n {
		t.Fatal(len(text), err)
	}
	for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789" {
		// A thousand each; eight deviations away is never.
		if got := strings.Count(text, string(c)); got < 750 || got > 1250 {
			t.Errorf("%c comes %d times", c, got)
		}
	}
	if _, err := NewBootstrapToken(strings.NewReader("short")); err == nil {
		t.Error("a token without randomness")
	}
}
