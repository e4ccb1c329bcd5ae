package image

import (
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestRegistryMatches(t *testing.T) {
	for _, c := range []struct {
		where, image string
		want         bool
	}{
		{"https://index.docker.io/v1/", "busybox", true},
		{"https://index.docker.io/v1/", "me/app:1", true},
		{"docker.io", "docker.io/me/app", true},
		{"docker.io/me", "me/app:1", true},
		{"docker.io/you", "me/app:1", false},
		{"quay.example", "quay.example/a/b@sha256:00", true},
		{"quay.example/a", "quay.example/a/b", true},
		{"quay.example/a", "quay.example/ab/b", false},
		{"quay.example:5000", "quay.example:5000/a", true},
		{"quay.example", "quay.example:5000/a", false},
		{"*.example", "quay.example/a", true},
		{"*.example", "a.b.example/a", false},
		{"localhost", "localhost/a", true},
		{"https://quay.example/v2/", "quay.example/a", true},
		{"::bad", "busybox", false},
	} {
		if got := registryMatches(c.where, c.image); got != c.want {
			t.Errorf("%s for %s: %v", c.where, c.image, got)
		}
	}
}

func TestDockerAuths(t *testing.T) {
	s := &v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		v1.DockerConfigJsonKey: []byte(`{"auths":{"r.example":{"auth":"dTpwOng="},"t.example":{"identitytoken":"tok"}}}`)}}
	auths := dockerAuths(s)
	if a := authConfig("r.example", auths["r.example"]); a.Username != "u" || a.Password != "p:x" {
		t.Errorf("%v", a)
	}
	if a := authConfig("t.example", auths["t.example"]); a.IdentityToken != "tok" {
		t.Errorf("%v", a)
	}
	s = &v1.Secret{Type: v1.SecretTypeDockercfg, Data: map[string][]byte{v1.DockerConfigKey: []byte(`{"r.example":{"username":"u","password":"p"}}`)}}
	if a := dockerAuths(s)["r.example"]; a.Username != "u" {
		t.Errorf("%v", a)
	}
	s.Data[v1.DockerConfigKey] = []byte(`{`)
	if len(dockerAuths(s)) != 0 {
		t.Error("a broken Secret holds something")
	}
}
