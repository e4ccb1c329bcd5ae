package image

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// dockerAuth is one entry of a docker configuration's auths.
type dockerAuth struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
}

// credentials returns those of the pod's imagePullSecrets that fit the image's
// registry, the most specific first. A missing Secret only draws an event, as
// the image may be public.
func (im *Puller) credentials(ctx context.Context, pod *v1.Pod, image string) ([]*runtimeapi.AuthConfig, error) {
	type match struct {
		where string
		auth  *runtimeapi.AuthConfig
	}
	var found []match
	for _, ref := range pod.Spec.ImagePullSecrets {
		secret, err := im.Client.CoreV1().Secrets(pod.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			im.Events.Pod(pod, nil, v1.EventTypeWarning, "FailedToRetrieveImagePullSecret",
				fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", ref.Name))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("failed to get image pull secret %q: %w", ref.Name, err)
		}
		for where, a := range dockerAuths(secret) {
			if registryMatches(where, image) {
				found = append(found, match{where, authConfig(where, a)})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b match) int {
		return cmp.Or(cmp.Compare(len(b.where), len(a.where)), cmp.Compare(a.where, b.where))
	})
	var out []*runtimeapi.AuthConfig
	for _, m := range found {
		out = append(out, m.auth)
	}
	return out, nil
}

// dockerAuths reads a Secret of either docker type; malformed ones hold nothing.
func dockerAuths(s *v1.Secret) map[string]dockerAuth {
	switch s.Type {
	case v1.SecretTypeDockerConfigJson:
		var c struct {
			Auths map[string]dockerAuth `json:"auths"`
		}
		if json.Unmarshal(s.Data[v1.DockerConfigJsonKey], &c) == nil {
			return c.Auths
		}
	case v1.SecretTypeDockercfg:
		var c map[string]dockerAuth
		if json.Unmarshal(s.Data[v1.DockerConfigKey], &c) == nil {
			return c
		}
	}
	return nil
}

func authConfig(where string, a dockerAuth) *runtimeapi.AuthConfig {
	out := &runtimeapi.AuthConfig{
		Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, ServerAddress: where,
	}
	if out.Username == "" && a.Auth != "" {
		if b, err := base64.StdEncoding.DecodeString(a.Auth); err == nil {
			out.Username, out.Password, _ = strings.Cut(string(b), ":")
		}
	}
	return out
}

// registryMatches tells whether an entry's key covers the image: its host may
// have wildcards in each label, its path is a prefix.
func registryMatches(where, image string) bool {
	host, rest := "docker.io", image
	if first, r, ok := strings.Cut(image, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		host, rest = first, r
	}
	if host == "index.docker.io" {
		host = "docker.io"
	}
	if !strings.Contains(where, "://") {
		where = "https://" + where
	}
	u, err := url.Parse(where)
	if err != nil {
		return false
	}
	want := u.Host
	if want == "index.docker.io" {
		// The historical key of the hub has a path that is no prefix.
		want, u.Path = "docker.io", ""
	}
	a, b := strings.Split(want, "."), strings.Split(host, ".")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if ok, err := path.Match(a[i], b[i]); err != nil || !ok {
			return false
		}
	}
	p := strings.Trim(u.Path, "/")
	if p == "" || p == "v1" || p == "v2" {
		return true
	}
	return rest == p || strings.HasPrefix(rest, p+"/") || strings.HasPrefix(rest, p+":") || strings.HasPrefix(rest, p+"@")
}
