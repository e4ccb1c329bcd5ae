package image

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registries says how registries are reached.
type Registries struct {
	// Mirrors are base URLs tried in order before the registry itself, by the
	// registry's host as it stands in names (docker.io); "*" is for all others.
	Mirrors map[string][]string
	// Insecure are hosts that may be reached over plain HTTP, or with a
	// certificate that nobody vouches for. Hosts on the loopback always may.
	Insecure []string
}

// Auth is how a caller is known to a registry; empty is nobody.
type Auth struct {
	Username, Password string
	// Auth is base64 of username:password, as in Docker's configuration.
	Auth          string
	IdentityToken string
	RegistryToken string
}

// retries is how often a layer whose transfer broke is fetched again.
const retries = 3

// Pull fetches an image from a mirror or its registry. Layers that are here are
// not fetched; each of the others is unpacked as it comes.
func (s *Store) Pull(ctx context.Context, image string, auth Auth) (*Image, error) {
	ref, err := ParseRef(image)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, at := range s.cfg.Registries.endpoints(ref) {
		creds := auth
		if at.mirror {
			creds = Auth{} // they are the registry's, and nobody else's
		}
		img, err := s.pullFrom(ctx, ref, at, creds)
		if err == nil {
			return img, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
	}
	return nil, &RegistryError{Ref: ref.String(), Err: errors.Join(errs...)}
}

// endpoint is one place to fetch from.
type endpoint struct {
	host     string // and a path before the repository's, perhaps
	insecure bool
	mirror   bool
}

func (r Registries) endpoints(ref Ref) (list []endpoint) {
	domain := ref.Domain()
	mirrors, ok := r.Mirrors[domain]
	if !ok {
		mirrors = r.Mirrors["*"]
	}
	for _, m := range mirrors {
		if !strings.Contains(m, "://") {
			m = "https://" + m
		}
		u, err := url.Parse(m)
		if err != nil || u.Host == "" {
			continue
		}
		list = append(list, endpoint{host: strings.TrimSuffix(u.Host+u.Path, "/"), insecure: u.Scheme == "http" || r.insecure(u.Host), mirror: true})
	}
	host := domain
	if host == "docker.io" {
		host = "index.docker.io"
	}
	return append(list, endpoint{host: host, insecure: r.insecure(domain)})
}

func (r Registries) insecure(host string) bool {
	if slices.Contains(r.Insecure, host) {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback() || slices.Contains(r.Insecure, host)
}

func (a Auth) authenticator() (authn.Authenticator, error) {
	c := authn.AuthConfig{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
	if a.Auth != "" && c.Username == "" {
		raw, err := base64.StdEncoding.DecodeString(a.Auth)
		if err != nil {
			return nil, fmt.Errorf("the registry's credentials are no base64: %w", err)
		}
		user, password, _ := strings.Cut(strings.TrimRight(string(raw), "\x00"), ":")
		c.Username, c.Password = user, password
	}
	if c == (authn.AuthConfig{}) {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(c), nil
}

func (s *Store) pullFrom(ctx context.Context, ref Ref, at endpoint, auth Auth) (*Image, error) {
	var options []name.Option
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		MaxIdleConnsPerHost:   8,
		ForceAttemptHTTP2:     true,
	}
	defer transport.CloseIdleConnections()
	if at.insecure {
		options = append(options, name.Insecure)
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	repo, err := name.NewRepository(at.host+"/"+ref.Path(), options...)
	if err != nil {
		return nil, err
	}
	var target name.Reference = repo.Tag(ref.Tag)
	if ref.Digest != "" {
		target = repo.Digest(ref.Digest)
	}
	who, err := auth.authenticator()
	if err != nil {
		return nil, err
	}
	desc, err := remote.Get(target,
		remote.WithContext(ctx),
		remote.WithAuth(who),
		remote.WithTransport(transport),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}),
		remote.WithUserAgent("clipper"))
	if err != nil {
		return nil, fmt.Errorf("failed to resolve reference %q: %w", ref, err)
	}
	img, err := desc.Image()
	if err != nil {
		return nil, fmt.Errorf("failed to resolve reference %q: %w", ref, err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	src := source{
		config:  config,
		digests: []string{ref.Name + "@" + desc.Digest.String()},
		retries: retries,
		open: func(_ context.Context, i int) (io.ReadCloser, error) {
			if i >= len(layers) {
				return nil, errors.New("the manifest has fewer layers than the image")
			}
			return layers[i].Compressed()
		},
	}
	if ref.Digest == "" {
		src.tags = []string{ref.String()}
	}
	return s.install(ctx, src)
}
