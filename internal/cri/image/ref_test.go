package image

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
	"pgregory.net/rapid"
)

func TestParseRef(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for in, want := range map[string]string{
		"nginx":                             "docker.io/library/nginx:latest",
		"nginx:1.27":                        "docker.io/library/nginx:1.27",
		"myregistry/api:v1":                 "docker.io/myregistry/api:v1",
		"docker.io/nginx":                   "docker.io/library/nginx:latest",
		"index.docker.io/library/nginx":     "docker.io/library/nginx:latest",
		"localhost/x":                       "localhost/x:latest",
		"localhost:5000/a/b:t":              "localhost:5000/a/b:t",
		"registry.k8s.io/pause:3.10":        "registry.k8s.io/pause:3.10",
		"[::1]:5000/x":                      "[::1]:5000/x:latest",
		"UPPER/x":                           "UPPER/x:latest",
		"nginx@" + digest:                   "docker.io/library/nginx@" + digest,
		"registry.k8s.io/a/b:tag@" + digest: "registry.k8s.io/a/b@" + digest,
		"a__b/c--d":                         "docker.io/a__b/c--d:latest",
	} {
		ref, err := ParseRef(in)
		if err != nil || ref.String() != want {
			t.Errorf("%q: %v %v, want %s", in, ref, err, want)
		}
	}
	for _, in := range []string{
		"", ":", "/", "a:", "a@", "Nginx", "a//b", "a/", "-a", "a_-b", "a:b:c", "a@sha256:12", "a b", "a\x00",
		"x.y:port/a", "..", "a/../b", strings.Repeat("a", 300), "docker.io/", "a:" + strings.Repeat("t", 129),
	} {
		if ref, err := ParseRef(in); err == nil {
			t.Errorf("%q is taken as %v", in, ref)
		}
	}
}

// The parser agrees with the library that registries' clients share.
func TestParseRefAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`([a-zA-Z0-9.:\-]{0,6}/)?[a-z0-9._/\-]{1,12}(:[a-zA-Z0-9._\-]{0,4})?(@sha256:[0-9a-f]{64})?`).Draw(t, "name")
		got, err := ParseRef(in)
		want, wantErr := reference.ParseDockerRef(in)
		switch {
		case (err == nil) != (wantErr == nil):
			// Names that are digests are the store's to look up by ID.
			if validHex(in) {
				return
			}
			// What looks like a registry and cannot be one, such as 0.0_0/a, they
			// take for a repository of no registry: nothing could pull that.
			if named, ok := want.(reference.Named); ok && reference.Domain(named) == "" {
				return
			}
			t.Fatalf("%q: we say %v, they say %v", in, err, wantErr)
		case err == nil && got.String() != want.String():
			t.Fatalf("%q: we say %s, they say %s", in, got, want)
		}
	})
}

func FuzzParseRef(f *testing.F) {
	f.Add("registry:5000/a/b:c@sha256:x")
	f.Fuzz(func(t *testing.T, in string) {
		ref, err := ParseRef(in)
		if err != nil {
			return
		}
		again, err := ParseRef(ref.String())
		if err != nil || again.String() != ref.String() {
			t.Errorf("%q is %s, which is %v %v", in, ref, again, err)
		}
	})
}
