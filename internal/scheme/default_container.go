package scheme

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

func defaultContainer(c *corev1.Container) {
	fill(&c.ImagePullPolicy, pullPolicy(c.Image))
	fill(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	fill(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	roundUp(c.Resources.Limits, c.Resources.Requests)
	for i := range c.Ports {
		fill(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		from := c.Env[i].ValueFrom
		if from == nil {
			continue
		}
		if from.FieldRef != nil {
			fill(&from.FieldRef.APIVersion, "v1")
		}
		if from.FileKeyRef != nil {
			point(&from.FileKeyRef.Optional, false)
		}
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if p != nil {
			defaultProbe(p)
		}
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil && h.HTTPGet != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
}

func defaultProbe(p *corev1.Probe) {
	atLeast := func(n *int32, value int32) {
		if *n == 0 {
			*n = value
		}
	}
	atLeast(&p.TimeoutSeconds, 1)
	atLeast(&p.PeriodSeconds, 10)
	atLeast(&p.SuccessThreshold, 1)
	atLeast(&p.FailureThreshold, 3)
	if p.HTTPGet != nil {
		defaultHTTPGet(p.HTTPGet)
	}
	if p.GRPC != nil {
		point(&p.GRPC.Service, "")
	}
}

func defaultHTTPGet(g *corev1.HTTPGetAction) {
	fill(&g.Path, "/")
	fill(&g.Scheme, corev1.URISchemeHTTP)
}

// pullPolicy is Always for an image whose tag is, or is left to be, latest. An
// image named by its digest cannot change.
func pullPolicy(image string) corev1.PullPolicy {
	if !named(image) || strings.Contains(image, "@") && !strings.HasSuffix(tag(image), "latest") {
		return corev1.PullIfNotPresent
	}
	if t := tag(image); t == "" || t == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// named tells whether an image's name is one: whose parts, but for the registry,
// are of lower case letters, digits and what joins them.
func named(image string) bool {
	image, _, _ = strings.Cut(image, "@")
	registry, rest, found := strings.Cut(image, "/")
	if !found || !strings.ContainsAny(registry, ".:") && registry != "localhost" && registry == strings.ToLower(registry) {
		rest = image
	}
	if end := strings.LastIndexByte(rest, ':'); end >= 0 {
		if end == len(rest)-1 || strings.IndexByte(rest[end:], '/') >= 0 {
			return false
		}
		rest = rest[:end]
	}
	if len(image) > 255 {
		return false
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || strings.Trim(part, "._-") != part || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			return false
		}
	}
	return true
}

// tag is what follows the colon of an image's last path element.
func tag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndexByte(image, '/')+1:]
	_, t, _ := strings.Cut(image, ":")
	return t
}
