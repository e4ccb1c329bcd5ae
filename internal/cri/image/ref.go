package image

import (
	"fmt"
	"strings"
)

// Ref is an image's name in its full form.
type Ref struct {
	// Name is the repository with its registry, as docker.io/library/nginx.
	Name string
	// Tag is latest when neither tag nor digest was given.
	Tag string
	// Digest is sha256:... or empty.
	Digest string
}

// maxName bounds a repository's name, as registries do.
const maxName = 255

// String gives the name with its tag or digest. A digest says it all: a tag
// beside one is dropped, as other runtimes do.
func (r Ref) String() string {
	if r.Digest != "" {
		return r.Name + "@" + r.Digest
	}
	return r.Name + ":" + r.Tag
}

// Domain is the registry's host, and its port if it has one.
func (r Ref) Domain() string { return r.Name[:strings.IndexByte(r.Name, '/')] }

// Path is the repository within its registry.
func (r Ref) Path() string { return r.Name[strings.IndexByte(r.Name, '/')+1:] }

// ParseRef reads an image's name as it is written in manifests: nginx,
// myregistry/api:v1, localhost:5000/x, registry.k8s.io/pause@sha256:....
func ParseRef(s string) (Ref, error) {
	bad := func(why string) (Ref, error) {
		return Ref{}, fmt.Errorf("couldn't parse image name %q: invalid reference format: %s", s, why)
	}
	rest := s
	var ref Ref
	if name, digest, ok := strings.Cut(rest, "@"); ok {
		if !validDigest(digest) {
			return bad("the digest must be sha256: and 64 hexadecimal digits")
		}
		rest, ref.Digest = name, digest
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.Contains(rest[i:], "/") {
		rest, ref.Tag = rest[:i], rest[i+1:]
		if !validTag(ref.Tag) {
			return bad("a tag has 1 to 128 letters, digits, '_', '.', '-' and begins with none of the last two")
		}
	}
	if ref.Tag == "" && ref.Digest == "" {
		ref.Tag = "latest"
	}
	domain, path, ok := strings.Cut(rest, "/")
	if !ok || !(strings.ContainsAny(domain, ".:") || domain == "localhost" || strings.ToLower(domain) != domain) {
		domain, path = "docker.io", rest
	}
	if domain == "index.docker.io" {
		domain = "docker.io"
	}
	if domain == "docker.io" && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	switch {
	case !validDomain(domain):
		return bad("the registry is no host name")
	case len(path) > maxName:
		return bad("the repository's name is too long")
	}
	for part := range strings.SplitSeq(path, "/") {
		if !validComponent(part) {
			return bad("a repository's name has lowercase letters, digits and separators between them")
		}
	}
	ref.Name = domain + "/" + path
	return ref, nil
}

func alphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
func word(c byte) bool         { return alphanumeric(c) || c >= 'A' && c <= 'Z' || c == '_' }

func validDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && validHex(hex)
}

func validHex(hex string) bool {
	if len(hex) != 64 {
		return false
	}
	for i := range len(hex) {
		if c := hex[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

func validTag(s string) bool {
	if s == "" || len(s) > 128 || !word(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !word(c) && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// validComponent accepts runs of lowercase letters and digits, with between
// them one '.', one or two '_', or any number of '-'.
func validComponent(s string) bool {
	if s == "" || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if alphanumeric(s[i]) {
			i++
			continue
		}
		start := i
		for !alphanumeric(s[i]) {
			i++
		}
		sep := s[start:i]
		if sep != "." && sep != "_" && sep != "__" && strings.Trim(sep, "-") != "" {
			return false
		}
	}
	return true
}

func validDomain(s string) bool {
	host, port, ok := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return false
		}
		for _, c := range []byte(s[1:end]) {
			if !(c == ':' || c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return false
			}
		}
		rest := s[end+1:]
		if rest == "" {
			return end > 1
		}
		port, ok = strings.CutPrefix(rest, ":")
		if !ok {
			return false
		}
		return end > 1 && validPort(port)
	}
	if ok && !validPort(port) {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !(word(c) && c != '_') && c != '-' {
				return false
			}
		}
	}
	return true
}

func validPort(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
