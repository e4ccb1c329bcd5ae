package podspec

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Bounds of a resolv.conf, as glibc and the API have them.
const (
	maxServers  = 3
	maxSearches = 32
	maxSearch   = 2048
)

// dns returns the pod's resolver configuration.
func (n *Node) dns(pod *v1.Pod) *runtimeapi.DNSConfig {
	out := Resolver{}
	policy := pod.Spec.DNSPolicy
	if policy == v1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = v1.DNSDefault
	}
	switch policy {
	case v1.DNSNone:
	case v1.DNSDefault:
		out = n.Resolver
	default:
		if len(n.ClusterDNS) == 0 {
			out = n.Resolver
			break
		}
		out.Servers = n.ClusterDNS
		if d := n.ClusterDomain; d != "" {
			out.Searches = []string{pod.Namespace + ".svc." + d, "svc." + d, d}
		}
		out.Searches = append(out.Searches, n.Resolver.Searches...)
		out.Options = []string{"ndots:5"}
	}
	if c := pod.Spec.DNSConfig; c != nil {
		out.Servers = union(out.Servers, c.Nameservers)
		out.Searches = union(out.Searches, c.Searches)
		out.Options = mergeOptions(out.Options, c.Options)
	}
	if len(out.Servers) > maxServers {
		out.Servers = out.Servers[:maxServers]
	}
	size, keep := 0, 0
	for _, s := range out.Searches {
		if size += len(s) + 1; size > maxSearch || keep == maxSearches {
			break
		}
		keep++
	}
	return &runtimeapi.DNSConfig{
		Servers:  slices.Clone(out.Servers),
		Searches: slices.Clone(out.Searches[:keep]),
		Options:  slices.Clone(out.Options),
	}
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// mergeOptions lets the pod's options replace those of the same name.
func mergeOptions(base []string, own []v1.PodDNSConfigOption) []string {
	name := func(o string) string { n, _, _ := strings.Cut(o, ":"); return n }
	var out []string
	for _, o := range base {
		if !slices.ContainsFunc(own, func(p v1.PodDNSConfigOption) bool { return p.Name == name(o) }) {
			out = append(out, o)
		}
	}
	for _, p := range own {
		o := p.Name
		if p.Value != nil && *p.Value != "" {
			o += ":" + *p.Value
		}
		out = append(out, o)
	}
	return out
}

// ParseResolver reads a resolv.conf; what it does not know is left out.
func ParseResolver(content string) Resolver {
	var r Resolver
	for line := range strings.Lines(content) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.Servers = append(r.Servers, f[1])
		case "search":
			r.Searches = f[1:]
		case "options":
			r.Options = append(r.Options, f[1:]...)
		}
	}
	return r
}
